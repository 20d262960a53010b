-- Where an operation takes place: an environment of environments.yaml, or an app by itself.
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local opt = require "host.opt"

local M = {}

---@class dgrun.target
---@field name string as people call it: the environment's name, else the app's
---@field app string the Fly app
---@field environment? dgrun.environment its secrets are looked up when they are used
local Target = { __name = "dgrun.target" }

---@return boolean
function M.is(value)
    return type(value) == "table" and getmetatable(value) == Target
end

local function of_environment(name)
    local env = environment.get(name, { lazy = true })
    return setmetatable({ name = name, app = env.app, environment = env }, Target)
end

---The target of an app, with its environment where one names it.
---@param app string
---@return dgrun.target
function M.of_app(app)
    if type(app) ~= "string" or not app:match("^[a-z0-9][a-z0-9-]*$") or #app > 63 then
        err.raise { code = "input.invalid", msg = ("'%s' is not a valid app name"):format(
            tostring(app)), hint = "App names contain a-z, 0-9, and -." }
    end
    for _, name in ipairs(environment.names()) do
        local target = of_environment(name)
        if target.app == app then
            return target
        end
    end
    return setmetatable({ name = app, app = app }, Target)
end

---Is this word an environment's name or the app of one?
---@param word string
---@return boolean
function M.is_name(word)
    for _, name in ipairs(environment.names()) do
        if name == word or environment.get(name, { lazy = true }).app == word then
            return true
        end
    end
    return false
end

local function the_only(names)
    if #names == 1 then
        return of_environment(names[1])
    end
    err.raise { code = "input.missing",
        msg = "which environment or app?" .. (#names > 0 and " Environments: "
            .. format.list(names) .. "." or " No environments.yaml here."),
        hint = "Name an environment, or an app with --app NAME." }
end

---@param word? string|dgrun.target an environment's name, or the app of one; without it the only
---  environment there is
---@return dgrun.target
function M.find(word)
    if M.is(word) then
        return word --[[@as dgrun.target]]
    end
    local names = environment.names()
    if word == nil then
        return the_only(names)
    elseif #names == 0 then
        return M.of_app(word --[[@as string]])
    end
    for _, name in ipairs(names) do
        if name == word then
            return of_environment(name)
        end
    end
    if M.is_name(word) then
        return M.of_app(word --[[@as string]])
    end
    local nearest = opt.nearest(tostring(word), names)
    err.raise { code = "input.unknown_place",
        msg = ("'%s' is neither an environment nor an environment's app"):format(tostring(word)),
        hint = nearest and ("Did you mean %s?"):format(nearest)
            or ("Environments: %s. For any other app, use --app."):format(
                format.list(names)) }
end

---@param words? (string|dgrun.target)[] without any: all environments
---@return dgrun.target[]
function M.list(words)
    local targets = {}
    if not words or #words == 0 then
        for i, name in ipairs(environment.names()) do
            targets[i] = of_environment(name)
        end
        return #targets > 0 and targets or { the_only {} }
    end
    for i, word in ipairs(words) do
        targets[i] = M.find(word)
    end
    return targets
end

---A secret of the target's environment; nil where it has none, or does not declare this one.
---@param target dgrun.target
---@param name string
---@return any
function M.secret(target, name)
    if not target.environment then
        return nil
    end
    local ok, value = pcall(function() return target.environment.secrets[name] end)
    if not ok and not err.is(value, "secrets.undeclared") then
        err.raise(value)
    end
    return ok and value or nil
end

return M
