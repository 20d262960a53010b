-- Compares the settings that an application requires with those that a deploy would provide.
local check = require "dgrun.core.check"
local config_of = require "dgrun.fly.config"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local python_of = require "dgrun.project.python"

local M = {}

---@class dgrun.secrets.required_by
---@field dir string of the application, a checkout
---@field settings? string module and class, default "app.settings:Settings"
---@field python? string|string[] its interpreter; default: .venv, uv, poetry, that of alembic
---@field secrets table<string, any> those of an environment, or any table by name
---@field config? string its fly.toml, relative to `dir`, whose [env] counts too; default:
---  the configuration of the secrets' environment, else fly.toml
---@field also? string[] names that are set elsewhere, such as by ENV in a Dockerfile
---@field timeout? number seconds, default 60

---@class dgrun.secrets.requirements
---@field asked boolean whether the settings could be determined
---@field reason? string why not
---@field library? string "pydantic 1.10.4"
---@field required string[] variable names; of a setting with several names, the first
---@field optional string[]
---@field unread string[] secrets that are not settings; the application may read them elsewhere

local REASON_LIMIT = 200

local SCRIPT = [[
import importlib, inspect, json, os, sys, warnings
warnings.simplefilter("ignore")
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the application prints is not the answer
module_name, _, class_name = sys.argv[1].partition(":")

def tell(**fields):
    json.dump(fields, answer)
    answer.flush()
    os._exit(0)

def stand_in(base):
    # `settings = Settings()` at the end of a module must not need values.
    from unittest.mock import MagicMock
    base.__new__ = staticmethod(lambda cls, *args, **options: MagicMock(name=cls.__name__))

def bases():
    found = []
    try:
        from pydantic_settings import BaseSettings, VERSION
        found.append((BaseSettings, "pydantic-settings " + VERSION, 2))
    except ImportError:
        pass
    try:
        import pydantic
    except ImportError:
        return found
    if pydantic.VERSION.startswith("1."):
        found.append((pydantic.BaseSettings, "pydantic " + pydantic.VERSION, 1))
    else:
        try:
            from pydantic.v1 import BaseSettings
            found.append((BaseSettings, "pydantic.v1 of " + pydantic.VERSION, 1))
        except ImportError:
            pass
    return found

def setting(name, names, required, delimiter, kinds):
    one = dict(name=name, names=names, required=required)
    if delimiter and any(hasattr(kind, "__fields__") for kind in kinds):  # of another model
        one["nested"] = delimiter
    return one

def fields_of_1(cls):
    delimiter = getattr(cls.__config__, "env_nested_delimiter", None)
    for name, field in cls.__fields__.items():
        names = field.field_info.extra.get("env_names") or [name]
        names = sorted(names) if isinstance(names, (set, frozenset)) else list(names)
        yield setting(name, names, field.required is True, delimiter, [field.type_])

def names_of_2(source, config, name, field):
    try:
        return [info[1] for info in source._extract_field_info(field, name)]
    except AttributeError:  # not a public name of the library
        alias = field.validation_alias
        choices = getattr(alias, "choices", [alias] if alias else [])
        names = [getattr(one, "path", [one])[0] for one in choices]
        if not names or config.get("populate_by_name") or config.get("validate_by_name"):
            names.append(config.get("env_prefix", "") + name)
        return names if config.get("case_sensitive") else [one.lower() for one in names]

def fields_of_2(cls):
    from pydantic_settings import EnvSettingsSource
    config = cls.model_config
    source = EnvSettingsSource(cls)
    for name, field in cls.model_fields.items():
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        yield setting(name, names_of_2(source, config, name, field), field.is_required(),
                      config.get("env_nested_delimiter"), kinds)

found = bases()
if not found:
    tell(reason="pydantic is not installed for " + sys.executable)
for base, _, _ in found:
    stand_in(base)
sys.path.insert(0, os.getcwd())
try:
    value = importlib.import_module(module_name)
except BaseException as e:
    if isinstance(e, ModuleNotFoundError) and (module_name + ".").startswith((e.name or "?") + "."):
        tell(reason="no module named " + e.name)
    lines = str(e).strip().splitlines() or [""]
    tell(reason="importing %s raised %s: %s" % (module_name, type(e).__name__, lines[0]))
for name in class_name.split("."):
    if not hasattr(value, name):
        tell(reason="%s has no %s" % (module_name, class_name))
    value = getattr(value, name)
for base, library, major in found:
    if inspect.isclass(value) and issubclass(value, base):
        if major == 1:
            sensitive, fields = value.__config__.case_sensitive, fields_of_1(value)
        else:
            sensitive, fields = value.model_config.get("case_sensitive"), fields_of_2(value)
        tell(library=library, case_sensitive=bool(sensitive), settings=list(fields))
tell(reason="%s is not a pydantic BaseSettings class" % sys.argv[1])
]]

---Determines which settings an application reads from its environment: its own Python imports the
---module and inspects the class, a BaseSettings of pydantic 1 or pydantic-settings 2. The class is
---not instantiated, so no values are needed; the child process changes nothing.
---@param opts {dir: string, python?: string|string[], settings: string, timeout?: number}
---@return {library: string, case_sensitive: boolean, settings: table[]}? # each setting: `name` of
---  the field; `names` of the variables that set it, in lower case unless case_sensitive;
---  `required`; `nested`, the delimiter with which its parts can be set one by one
---@return string? reason why the settings cannot be determined
local function ask_application(opts)
    local python = type(opts.python) == "string" and { opts.python } or opts.python
        or python_of.find(opts.dir)
    if not python then
        return nil, "no Python found: no .venv, no uv or poetry project, and no Python in PATH"
    end
    local argv = { unpack(python) }
    for _, word in ipairs { "-c", SCRIPT, opts.settings } do
        argv[#argv + 1] = word
    end
    local result, e = proc.run {
        argv = argv, cwd = opts.dir, timeout = opts.timeout or 60, read_only = true,
        env = { PYTHONDONTWRITEBYTECODE = "1" },
    }
    if not result then
        if e.code == "cancelled" then
            err.raise(e)
        end
        return nil, e.msg
    end
    local read, answer = pcall(json.decode, result.stdout, argv[1])
    if result.status ~= 0 or not read then
        return nil, ("%s exited with status %d: %s"):format(argv[1], result.status,
            format.excerpt(format.last_line(result.stderr) or "no output", REASON_LIMIT))
    elseif answer.reason then
        return nil, answer.reason
    end
    return answer
end

local spec = {
    dir = "string", settings = "string?", python = "any?", secrets = "table", config = "string?",
    also = "table?", timeout = "seconds?",
}

---The table [env] of fly.toml; an empty table without a fly.toml.
local function env_of_config(opts, entry)
    local file = opts.config or entry and entry.config
    local path = opts.dir / (file or "fly.toml")
    if not file and not fs.exists(path) then
        return {}
    end
    return config_of.load(path).env
end

---Names that will be set on a machine.
local function given(opts, entry)
    local names = { "PRIMARY_REGION" }
    for _, values in ipairs { environment.complete(opts.secrets), env_of_config(opts, entry) } do
        for name in pairs(values) do
            names[#names + 1] = name
        end
    end
    for _, name in ipairs(opts.also or {}) do
        names[#names + 1] = name
    end
    return names
end

---Whether a variable sets this setting, or a part of a nested setting.
local function sets(answer, setting, variable)
    local delimiter = setting.nested
    if not answer.case_sensitive then
        variable, delimiter = variable:lower(), delimiter and delimiter:lower()
    end
    for _, name in ipairs(setting.names) do
        local prefix = delimiter and name .. delimiter
        if variable == name or prefix and variable:sub(1, #prefix) == prefix then
            return true
        end
    end
    return false
end

local function is_given(answer, setting, names)
    for _, name in ipairs(names) do
        if sets(answer, setting, name) then
            return true
        end
    end
    return setting.names[1]:lower():sub(1, 4) == "fly_" -- Fly sets these
end

local function shown(answer, setting)
    local names = {}
    for i, name in ipairs(setting.names) do
        names[i] = answer.case_sensitive and name or name:upper()
    end
    return names
end

---Secrets that are not settings.
local function unread(opts, answer)
    local list = json.array {}
    for name in pairs(opts.secrets) do
        local read = false
        for _, setting in ipairs(answer.settings) do
            read = read or sets(answer, setting, name)
        end
        list[#list + 1] = not read and name or nil
    end
    table.sort(list)
    return list
end

local function refuse(settings, entry, missing, answer)
    local optional, lines, names = {}, {}, {}
    for _, name in ipairs(entry and entry.secrets.optional or {}) do
        optional[name] = true
    end
    for i, setting in ipairs(missing) do
        local all = shown(answer, setting)
        names[i], lines[i] = all[1], format.list(all, "or")
        for _, name in ipairs(all) do
            if optional[name] then
                lines[i] = lines[i] .. ", which is declared optional and has no value in any source"
            end
        end
    end
    err.raise {
        code = "secrets.undeclared_setting", op = "secrets.required_by", names = names,
        msg = ("%s requires settings that %s:\n  %s"):format(settings,
            entry and ("environment '%s' does not provide"):format(entry.name)
                or "are not provided", table.concat(lines, "\n  ")),
        hint = ("Add %s to the required secrets in %s, or set non-secret values in [env] of the "
            .. "fly.toml.")
            :format(#names == 1 and "it" or "them", entry and entry.file or "environments.yaml"),
    }
end

---@param opts dgrun.secrets.required_by
---@return dgrun.secrets.requirements
function M.compare(opts)
    check.options(opts, spec, "secrets.required_by")
    local settings = opts.settings or "app.settings:Settings"
    if not settings:match "^[%w_.]+:[%w_.]+$" then
        err.raise { code = "input.invalid", op = "secrets.required_by",
            msg = ("secrets.required_by: settings '%s' is not of the form module:class")
                :format(settings),
            hint = "Write it as app.settings:Settings." }
    end
    local owner = (getmetatable(opts.secrets) or {}).environment
    local entry = owner and getmetatable(owner).entry
    local answer, reason = ask_application { dir = opts.dir,
        python = opts.python, settings = settings, timeout = opts.timeout }
    local result = { asked = answer ~= nil, reason = reason, required = json.array {},
        optional = json.array {}, unread = json.array {} }
    if not answer then
        effect.note(("cannot determine the settings that %s requires: %s"):format(settings, reason))
        return result
    end
    result.library = answer.library
    local names, missing = given(opts, entry), {}
    for _, setting in ipairs(answer.settings) do
        local list = setting.required and result.required or result.optional
        list[#list + 1] = shown(answer, setting)[1]
        if setting.required and not is_given(answer, setting, names) then
            missing[#missing + 1] = setting
        end
    end
    if #missing > 0 then
        refuse(settings, entry, missing, answer)
    end
    result.unread = unread(opts, answer)
    effect.note(("%s: %s, all provided"):format(settings,
        format.count(#result.required, "required setting")))
    return result
end

return M
