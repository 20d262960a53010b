-- Where the values of an environment's secrets come from: its sources in the order it lists them;
-- the first that has a value wins. An empty value counts as none: that is what CI systems give for
-- a secret that is not set.
local err = require "dgrun.err"
local secret = require "host.secret"

local M = {}

local function usable(value)
    return value and not value:test("empty") and value or nil
end

---Each kind of source: opened once for an environment it returns a function from name to sealed
---value, and what to call it in messages.
local open = {}

function open.env()
    return secret.from_env, "the environment"
end

function open.dotenv(source, root)
    local entries, e = require("host.dotenv").read(root / source.file)
    if not entries then
        if e.code == "fs.not_found" or e.code == "dotenv.not_found" then
            return function() end, ("%s (no such file)"):format(source.file)
        end
        err.raise(e)
    end
    local values = {}
    for _, entry in ipairs(entries) do
        values[entry.name] = entry.value
    end
    return function(name) return values[name] end, source.file
end

---@param entry table an entry of environments.yaml
---@return fun(name: string): userdata? find
---@return string[] looked where, for people
local function finder(entry)
    local opened, looked = {}, {}
    for i, source in ipairs(entry.secrets.sources) do
        opened[i], looked[i] = open[source.kind](source, entry.root)
    end
    return function(name)
        for _, get in ipairs(opened) do
            local value = usable(get(name))
            if value then
                return value
            end
        end
    end, looked
end

---Values by name of those that go to the app.
---@param entry table an entry of environments.yaml
---@return table<string, any>? values nil when required or private ones are missing
---@return {environment: string, names: string[], looked: string[]}? missing
function M.look_up(entry)
    local declared = entry.secrets
    local find, looked = finder(entry)
    local values, missing = {}, {}
    for _, name in ipairs(declared.required) do
        values[name] = find(name)
        if not values[name] then
            missing[#missing + 1] = name
        end
    end
    for _, name in ipairs(declared.private) do
        if not find(name) then
            missing[#missing + 1] = name
        end
    end
    for _, name in ipairs(declared.optional) do
        values[name] = find(name)
    end
    for name, value in pairs(declared.literal) do
        values[name] = value
    end
    if #missing > 0 then
        return nil, {
            environment = entry.name, names = missing, looked = looked, file = entry.file,
        }
    end
    return values
end

---Is it a secret for the pipeline alone, which no app gets?
---@return boolean
function M.is_private(entry, name)
    for _, one in ipairs(entry.secrets.private) do
        if one == name then
            return true
        end
    end
    return false
end

---A private secret, whatever becomes of the others.
---@param entry table
---@param name string
---@return userdata sealed
function M.private(entry, name)
    local find, looked = finder(entry)
    return find(name) or err.raise(M.missing { { environment = entry.name, names = { name },
        looked = looked, file = entry.file } })
end

---The one error for all that is missing.
---@return dgrun.err
function M.missing(list)
    local format = require "dgrun.format"
    local lines, names = {}, {}
    for i, one in ipairs(list) do
        local where = #one.looked > 0 and "looked in " .. format.list(one.looked, "and then")
            or "no sources are listed in " .. one.file
        lines[i] = ("environment '%s' lacks %s %s (%s)"):format(one.environment,
            #one.names == 1 and "the required secret" or "the required secrets",
            format.list(one.names), where)
        for _, name in ipairs(one.names) do
            names[#names + 1] = name
        end
    end
    local planning = require("dgrun.run").planning()
    return err.new {
        code = "secrets.missing", names = names, msg = table.concat(lines, "\n"),
        hint = "Set them in one of these places."
            .. (planning and " A plan needs them too: it compares them with what is set." or ""),
    }
end

return M
