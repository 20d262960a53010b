-- The app's secrets compared with the secrets that its environment declares, by name.
local environment = require "dgrun.project.environment"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"

local M = {}

---@class dgrun.status.secrets
---@field set string[] names
---@field missing string[] required secrets and literals that the app lacks
---@field undeclared string[] names on the app that are not declared

local function contract(target)
    local declared = environment.entry(target.environment).secrets
    local wanted, known = {}, {}
    for name in pairs(declared.literal) do
        -- A literal may also be listed as required.
        wanted[#wanted + 1] = not known[name] and name or nil
        known[name] = true
    end
    for _, name in ipairs(declared.required) do
        wanted[#wanted + 1] = not known[name] and name or nil
        known[name] = true
    end
    for _, name in ipairs(declared.optional) do
        known[name] = true
    end
    table.sort(wanted)
    return wanted, known
end

---@param target dgrun.status.target
---@return dgrun.status.secrets
---@return string[] problems
function M.ask(target)
    local array = json.array
    local facts, there = { set = array {}, missing = array {}, undeclared = array {} }, {}
    for i, secret in ipairs(target.secrets()) do
        facts.set[i], there[secret.name] = secret.name, true
    end
    if not target.environment then
        return facts, {}
    end
    local wanted, known = contract(target)
    for _, name in ipairs(wanted) do
        facts.missing[#facts.missing + 1] = not there[name] and name or nil
    end
    for _, name in ipairs(facts.set) do
        facts.undeclared[#facts.undeclared + 1] = not known[name] and name or nil
    end
    local missing = facts.missing
    return facts, { #missing > 0 and ("%s %s not set"):format(format.list(missing),
        #missing == 1 and "is" or "are") or nil }
end

return M
