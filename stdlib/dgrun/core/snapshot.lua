-- A value as it may be journaled and shown: JSON data in which a sealed value stands by its name
-- and an unknown one by its text. Strict for what is read back, lenient for what is looked at.
local json = require "dgrun.core.json"
local unknown = require "dgrun.core.unknown"

local M = {}

local function sealed_name(value)
    local secret = package.loaded["host.secret"]
    return secret and secret.is(value) and value:name() or nil
end

local function key_path(path, key)
    if type(key) == "string" and key:match("^[%a_][%w_]*$") then
        return path .. "." .. key
    end
    return ("%s[%s]"):format(path, type(key) == "string" and ("%q"):format(key) or tostring(key))
end

---What keeps this value from being JSON data: nil, or the reason.
local function fault(value, seen)
    local kind = type(value)
    if kind == "table" then
        return seen[value] and "refers to itself" or nil
    elseif kind == "number" and (value ~= value or value == math.huge or value == -math.huge) then
        return "is not a finite number"
    elseif kind == "function" or kind == "thread" or kind == "cdata" or
        kind == "userdata" and value ~= json.null then
        return "is a " .. kind
    end
end

local function array_length(t)
    local count, largest = 0, 0
    for key in pairs(t) do
        if type(key) ~= "number" then
            return nil
        end
        count, largest = count + 1, math.max(largest, key)
    end
    return count == largest and count or nil
end

local copy

local function copy_table(value, opts, path, seen)
    seen[value] = true
    -- Plain data may carry the mark of an array; objects of other kinds become plain.
    local out = {}
    if #value == 0 and (getmetatable(value) or {}).__name == "dgrun.json.array" then
        json.array(out)
    end
    local is_array = array_length(value) ~= nil
    for key, item in pairs(value) do
        local at = key_path(path, key)
        if not is_array and type(key) ~= "string" then
            if opts.strict then
                error({ path = at, reason = "has a key that is not a string" }, 0)
            end
            key = tostring(key)
        end
        out[key] = copy(item, opts, at, seen)
    end
    seen[value] = nil
    return out
end

function copy(value, opts, path, seen)
    local name = sealed_name(value)
    if name then
        return { ["$secret"] = name }
    elseif unknown.is(value) then
        return unknown.text
    elseif json.is_number(value) then
        return value
    end
    local reason = fault(value, seen)
    if reason then
        if opts.strict then
            error({ path = path, reason = reason }, 0)
        end
        return ("(%s)"):format(type(value))
    elseif type(value) ~= "table" then
        return value
    end
    return copy_table(value, opts, path, seen)
end

---A copy as JSON data, or nil, the path of what cannot be journaled, and the reason.
---@param value any
---@param root? string what the path begins with
---@return any copy
---@return string? path
---@return string? reason
function M.strict(value, root)
    local ok, result = pcall(copy, value, { strict = true }, root or "result", {})
    if ok then
        return result
    elseif type(result) == "table" and result.path then
        return nil, result.path, result.reason
    end
    error(result, 0)
end

---A copy as JSON data; what cannot stand in it is named by its type.
---@param value any
---@return any
function M.lenient(value)
    return copy(value, {}, "value", {})
end

return M
