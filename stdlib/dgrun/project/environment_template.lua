-- Entries below `templates` of environments.yaml: environments for pull requests, whose number
-- takes the place of {pr} in the app, the url and the literal secrets.
local err = require "dgrun.core.err"
local tables = require "dgrun.core.table"
local below = require("dgrun.core.yaml").below

local M = {}

local MARK = "{pr}"
---Letters of an app beside the number, so that a pattern is not taken for what it is not.
local LEAST = 4
---A number of this many digits has to fit.
local DIGITS = 7
---Names of apps are labels of a DNS name; PostgreSQL's identifiers have the same limit.
local LONGEST = 63

local function count(text)
    local _, found = text:gsub(MARK, "")
    return found
end

local function fill(text, number)
    return (text:gsub(MARK, number))
end

---The number of the pull request that an app of this pattern is for; nil for other apps.
---@param pattern string "draft-app-pr-{pr}"
---@param app string
---@return integer?
function M.number(pattern, app)
    local before, behind = pattern:match("^(.-){pr}(.*)$")
    local digits = app:sub(#before + 1, #app - #behind)
    local fits = app:sub(1, #before) == before and app:sub(#before + #digits + 1) == behind
        and digits:match("^[1-9]%d*$") and #digits <= DIGITS
    return fits and tonumber(digits) or nil
end

---@return string? key
---@return string fault
---@return string? hint
local function app_fault(app, environments)
    local example = fill(app, "1")
    if count(app) ~= 1 then
        return "app", "must contain {pr} once, such as my-app-pr-{pr}"
    elseif not example:match("^[a-z][a-z0-9-]*[a-z0-9]$") then
        return "app", "is not a valid app pattern", "App names contain a-z, 0-9, and -."
    elseif #app - #MARK < LEAST then
        return "app", ("needs at least %d characters besides {pr}"):format(LEAST)
    elseif #app - #MARK + DIGITS > LONGEST then
        return "app", ("is too long: with a number of %d digits it has more than %d characters")
            :format(DIGITS, LONGEST)
    end
    for name, other in pairs(environments) do
        if M.number(app, other.app) then
            return "app", ("would match %s, the app of environment %s"):format(
                other.app, name)
        end
    end
end

local function texts(entry)
    local list = { { "url", entry.url or "" }, { "org", entry.org or "" },
        { "config", entry.config or "" } }
    for _, text in pairs(entry.secrets.literal) do
        list[#list + 1] = { "secrets", text }
    end
    return list
end

---What is wrong with a template: its key, what, and what to do; nil when nothing is.
---@return string? key
---@return string fault
---@return string? hint
local function fault_of(name, entry, environments)
    local key, fault, hint = app_fault(entry.app, environments)
    if not key and environments[name] then
        key, fault = "app", "belongs to a template with the same name as an environment"
    end
    if key then
        return key, fault, hint
    end
    for _, one in ipairs(texts(entry)) do
        local mark = one[2]:match("{%a+}")
        if mark and mark ~= MARK then
            return one[1], ("contains %s; only {pr} is supported"):format(mark)
        end
    end
    if entry.url and count(entry.url) == 0 then
        return "url", "must contain {pr}, so that each pull request has its own"
    end
end

---@param reader dgrun.environment_reader
---@param value any below the key templates
---@param environments table<string, table> as read
---@param known table<string, true> keys of an environment
---@param read_environment fun(reader: table, value: any, keys: table, known: table): table
---@return table<string, table>
function M.read(reader, value, environments, known, read_environment)
    local keys, templates = { org = true }, {}
    for name in pairs(known) do
        keys[name] = true
    end
    if type(value) ~= "table" or #value > 0 then
        reader:refuse({ "templates" }, "templates must map names to environments")
    end
    for name, entry in pairs(value) do
        local at = { "templates", name }
        local out = read_environment(reader, entry, at, keys)
        out.org = reader:string(entry.org, below(at, "org"))
        if out.org and not out.org:match "^[%w][%w-]*$" then
            reader:refuse(below(at, "org"), ("templates.%s.org: '%s' is not the slug of an "
                .. "organization"):format(name, out.org), "fly orgs list shows the slugs.")
        end
        local key, fault, hint = fault_of(name, out, environments)
        if key then
            reader:refuse(below(at, key), ("templates.%s.%s %s"):format(name, key, fault),
                hint)
        end
        templates[name] = out
    end
    return templates
end

---@param pr integer
local function check_number(pr)
    if type(pr) ~= "number" or pr % 1 ~= 0 or pr < 1 or pr >= 10 ^ DIGITS then
        err.raise { code = "input.invalid", op = "review",
            msg = ("'%s' is not a pull request number"):format(tostring(pr)),
            hint = ("Pull request numbers are from 1 to %d."):format(10 ^ DIGITS - 1) }
    end
end

---The environment of one pull request, as an entry of environments.yaml.
---@param name string of the template
---@param template table as read
---@param pr integer
---@return table
function M.fill(name, template, pr)
    check_number(pr)
    local number = ("%d"):format(pr)
    local entry = {}
    for key, value in pairs(template) do
        entry[key] = type(value) == "string" and key ~= "config" and fill(value, number) or value
    end
    local secrets, literal = tables.merged(template.secrets), {}
    for key, text in pairs(template.secrets.literal) do
        literal[key] = fill(text, number)
    end
    secrets.literal = literal
    entry.secrets = secrets
    entry.template, entry.pr, entry.pattern = name, pr, template.app
    entry.org = entry.org or "personal"
    return entry
end

return M
