-- What a run gives to whoever called it: told at its end, and written for the next steps of a
-- GitHub workflow, which reads the file that GITHUB_OUTPUT names.
local check = require "dgrun.core.check"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local log = require "host.log"
local run = require "dgrun.run.context"
local secret = require "host.secret"
local tables = require "dgrun.core.table"

local M = {}

local function refuse(text, ...)
    err.raise { code = "input.invalid", op = "output", msg = "dg.output: " .. text:format(...) }
end

---@return string
local function text_of(name, value)
    if type(name) ~= "string" or not name:match("^[%a_][%w_-]*$") or #name > 100 then
        refuse("'%s' is not a valid output name", tostring(name))
    elseif secret.is(value) then
        refuse("%s is a sealed value; outputs can be read by everyone", name)
    elseif type(value) ~= "string" and type(value) ~= "number" and type(value) ~= "boolean" then
        refuse("%s is a %s; an output must be a string, number, or boolean", name, type(value))
    end
    local text = type(value) == "number" and value % 1 == 0 and ("%d"):format(value)
        or tostring(value)
    -- A second line would be another output.
    if text:find("%c") or log.clean(text) ~= text then
        refuse("%s contains a line break or another control character", name)
    end
    return text
end

local function is_site(value)
    for _, env in ipairs(environment.used()) do
        if env.url == value then
            return true
        end
    end
    return false
end

---Gives results to who called the run, such as a step of a workflow: dg.output { url = env.url }.
---Values are single lines; sealed ones are refused.
---@param values table<string, string|number|boolean>
function M.give(values)
    local lines = {}
    for name, value in pairs(values) do
        lines[name] = text_of(name, value)
    end
    local path = os.getenv "GITHUB_OUTPUT"
    for _, name in ipairs(tables.keys(values)) do
        -- The sites of environments are told anyway.
        if not is_site(values[name]) then
            run.fact(name, lines[name])
        end
        if path and path ~= "" and not run.planning() then
            check(fs.append(path, ("%s=%s\n"):format(name, lines[name])))
        end
    end
end

return M
