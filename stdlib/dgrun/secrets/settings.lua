-- Determines which settings an application reads from its environment: the application's own Python
-- imports the module and inspects the class, a BaseSettings of pydantic 1 or pydantic-settings 2.
-- The class is not instantiated, so no values are needed; the child process changes nothing.
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local log = require "host.log"
local proc = require "host.proc"
local python_of = require "dgrun.project.python"

local M = {}

---@class dgrun.settings
---@field library string "pydantic 1.10.4"
---@field case_sensitive boolean
---@field settings dgrun.settings.one[]

---@class dgrun.settings.one
---@field name string of the field
---@field names string[] variables, each of which sets it; in lower case unless case_sensitive
---@field required boolean
---@field nested? string its parts can be set one by one: the name, this delimiter, the part

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

---The last line that is not empty.
local function last_line(text)
    local last = "no output"
    for line in log.clean(text):gmatch "[^\n]+" do
        last = line:match "%S" and line or last
    end
    return #last > 200 and last:sub(1, 197) .. "..." or last
end

---@param opts {dir: string, python?: string|string[], settings: string, timeout?: number}
---@return dgrun.settings?
---@return string? reason why the settings cannot be determined
function M.ask(opts)
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
            last_line(result.stderr))
    elseif answer.reason then
        return nil, answer.reason
    end
    return answer
end

return M
