-- What a contract may ask of a value: `SECRET_KEY: { min_length: 16 }`. The host judges sealed
-- values, so that none becomes a string here; literals are judged by the same rules.
-- Patterns are POSIX extended ones because libc matches them where the value lies.
local format = require "dgrun.core.format"
local reader = require "dgrun.core.yaml"
local secret = require "host.secret"
local yaml = require "host.yaml"

local M = {}

---@class dgrun.secrets.rule
---@field name string
---@field argument any

local below, named = reader.below, reader.named

local function texts(r, value, keys)
    if type(value) ~= "table" or #value == 0 then
        r:refuse(keys, named(keys) .. " must be a list of strings")
    end
    for i, text in ipairs(value) do
        if text ~= "" then
            r:string(text, below(keys, i))
        end
    end
    return value
end

local function schemes(r, value, keys)
    if value == true then
        return true
    end
    local list = type(value) == "table" and texts(r, value, keys) or { r:string(value, keys) }
    for _, scheme in ipairs(list) do
        if not scheme:match "^%a[%w+._-]*$" then
            r:refuse(keys, ("%s: '%s' is not a URL scheme"):format(named(keys), scheme),
                "A scheme is what stands before ://, such as postgresql+asyncpg.")
        end
    end
    return list
end

local function pattern(r, value, keys)
    local fault = #r:string(value, keys) > 1000 and "longer than 1000 characters"
        or secret.pattern_fault(value)
    if fault then
        r:refuse(keys, ("%s is not a POSIX extended regular expression: %s"):format(named(keys),
            fault))
    end
    return value
end

local function count(r, value, keys)
    if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > 1e6 then
        r:refuse(keys, named(keys) .. " must be a whole number of characters")
    end
    return value
end

local function holds(test)
    return function(value, argument) return secret.test(value, test, argument) end
end

local function quoted(list)
    local words = {}
    for i, word in ipairs(list) do
        words[i] = word == "" and '""' or word
    end
    return format.list(words, "or")
end

---Each rule: how its argument is read, whether a value keeps it, what it says.
local kinds = {
    url = {
        read = schemes,
        holds = function(value, list)
            return secret.test(value, "url", list ~= true and list or nil)
        end,
        says = function(list)
            return list == true and "must be a URL" or "must be a URL of " .. quoted(list)
        end,
    },
    one_of = {
        read = texts, holds = holds "one_of",
        says = function(list) return "must be " .. quoted(list) end,
    },
    not_one_of = {
        read = texts,
        holds = function(value, list) return not secret.test(value, "one_of", list) end,
        says = function(list) return "must not be " .. quoted(list) end,
    },
    pattern = {
        read = pattern, holds = holds "pattern",
        says = function(text) return "must match " .. text end,
    },
    min_length = {
        read = count, holds = holds "min_length",
        says = function(n) return "must have at least " .. format.count(n, "character") end,
    },
    max_length = {
        read = count, holds = holds "max_length",
        says = function(n) return "must have at most " .. format.count(n, "character") end,
    },
}

local order = { "url", "one_of", "not_one_of", "pattern", "min_length", "max_length" }

---@param r dgrun.environment_reader
---@param value any of the file; null: no rules
---@return dgrun.secrets.rule[]
function M.read(r, value, keys)
    if value == yaml.null then
        return {}
    elseif not reader.is_map(value) then
        r:refuse(keys, named(keys) .. " must be a mapping of rules",
            "For instance { min_length: 16 }.")
    end
    r:map(value, keys, kinds)
    local rules = {}
    for _, name in ipairs(order) do
        if value[name] ~= nil then
            rules[#rules + 1] = {
                name = name, argument = kinds[name].read(r, value[name], below(keys, name)),
            }
        end
    end
    return rules
end

---What a rule asks: "must have at least 16 characters".
---@param rule dgrun.secrets.rule
---@return string
function M.says(rule)
    return kinds[rule.name].says(rule.argument)
end

---The rules that a value breaks.
---@param rules? dgrun.secrets.rule[]
---@param value string|host.secret.value
---@return dgrun.secrets.rule[]
function M.broken(rules, value)
    local list = {}
    for _, rule in ipairs(rules or {}) do
        if not kinds[rule.name].holds(value, rule.argument) then
            list[#list + 1] = rule
        end
    end
    return list
end

---A word on a broken rule that tells nothing of the value but what kind of URL it is.
---@param rule dgrun.secrets.rule
---@param value string|host.secret.value
---@return string?
function M.advice(rule, value)
    local schemes_of = rule.name == "url" and rule.argument ~= true and rule.argument or {}
    for _, scheme in ipairs(schemes_of) do
        local dialect = scheme:match "^([^+]+)%+"
        local plain = dialect == "postgresql" and { dialect, "postgres" } or { dialect }
        if dialect and secret.test(value, "url", plain) then
            return ("it lacks the driver: %s://"):format(scheme)
        end
    end
end

---The values that rules allow by name.
---@param rules? dgrun.secrets.rule[]
---@return string[]
function M.choices(rules)
    for _, rule in ipairs(rules or {}) do
        if rule.name == "one_of" then
            return rule.argument
        end
    end
    return {}
end

return M
