-- What a client sent, before a handler sees it: JSON that is safe to keep, a query of plain texts.
local answer = require "sandbox.answer"
local duration = require "dgrun.core.duration"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"

local M = {}

local DEEPEST = 40
local LARGEST = 2 ^ 63

---The text with "?" for each byte that is not UTF-8.
---@param text string
---@return string
function M.clean(text)
    return format.utf8(text, "?")
end

local function refuse(path, text)
    answer.fail(400, ("invalid_argument: %s: %s"):format(path, text))
end

---Refuses what could not be written to the state's file and read again.
local function verify(value, path, depth)
    local kind = type(value)
    if depth > DEEPEST then
        refuse("the body", "is nested too deeply")
    elseif json.is_number(value) or (kind == "number"
            and not (value > -LARGEST and value < LARGEST)) then
        refuse(path, "the number is out of range")
    elseif kind == "table" then
        for name, item in pairs(value) do
            verify(item, path .. "." .. tostring(name):sub(1, 60), depth + 1)
        end
    end
end

---@param text string the body of a request
---@return table? # nil for none
function M.body(text)
    if text == "" then
        return nil
    elseif M.clean(text) ~= text then
        answer.fail(400, "invalid_argument: the body is not UTF-8")
    end
    local ok, body = pcall(json.decode, text)
    if not ok or type(body) ~= "table" or json.is_number(body) or text:find("^%s*%[") then
        answer.fail(400, "invalid_argument: the body is not a JSON object")
    end
    verify(body, "body", 1)
    return body
end

---Of a parameter that is given several times the last one counts, but for those that are lists.
---@return table<string, string>
function M.query(query)
    local plain = {}
    for name, value in pairs(query) do
        if type(value) == "table" then
            value = name == "state" and table.concat(value, ",") or value[#value]
        end
        plain[name] = M.clean(value)
    end
    return plain
end

---Of a header that is given several times the first one counts.
---@param headers table<string, string|string[]>
---@return table<string, string>
function M.headers(headers)
    local plain = {}
    for name, value in pairs(headers) do
        plain[name] = type(value) == "table" and value[1] or value
    end
    return plain
end

---A whole number of the query within limits.
---@param query table<string, string>
---@param name string
---@param default integer
---@param low integer
---@param high integer
---@return integer
function M.integer(query, name, default, low, high)
    local text = query[name]
    if text == nil or text == "" then
        return default
    end
    local number = text:match("^%d+$") and tonumber(text)
    if not number or number < low or number > high then
        answer.fail(400, ("invalid_argument: %s must be a whole number from %d to %d"):format(
            name, low, high))
    end
    return number
end

---A field that may be absent or null, or must have the type.
---@param body table?
---@param name string
---@param kind "string"|"number"|"integer"|"boolean"|"table"
---@return any
function M.field(body, name, kind)
    local value = body and body[name]
    if value == nil or value == json.null then
        return nil
    end
    local whole = kind ~= "integer" or (type(value) == "number" and value % 1 == 0)
    if type(value) ~= (kind == "integer" and "number" or kind) or not whole then
        answer.fail(400, ("invalid_argument: %s must be of type %s"):format(name,
            kind == "table" and "object" or kind))
    end
    return value
end

---Seconds of a Go duration ("1m30s") or of nanoseconds; nil where it is neither.
---@param value string|number
---@return number?
function M.duration(value)
    if type(value) == "number" then
        return value >= 0 and value / 1e9 or nil
    end
    local seconds = type(value) == "string" and duration.seconds(value)
    return seconds and seconds >= 0 and seconds or nil
end

return M
