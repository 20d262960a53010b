-- Compares the settings that an application requires with those that a deploy would provide.
local check = require "dgrun.core.check"
local config_of = require "dgrun.fly.config"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local settings_of = require "dgrun.secrets.settings"

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
    local answer, reason = settings_of.ask { dir = opts.dir,
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
