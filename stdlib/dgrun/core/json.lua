-- JSON, with the answers to what cjson leaves open: an empty table is {} unless made an array or
-- read as one, numbers keep all their digits (cjson reads 15 to 17), a sealed value stands in a
-- request body only. cjson reads; host.json writes.
local check = require "dgrun.core.check"
local cjson = require "cjson.safe".new()
local err = require "dgrun.core.err"
local host = require "host.json"

cjson.decode_max_depth(200)

local M = {}

M.null = cjson.null

---Marks a table as an array, so that it encodes as [] even when empty.
---@generic T: table
---@param t T
---@return T
function M.array(t)
    return setmetatable(t, host.array_metatable)
end

---Is it an array, as JSON that was read says, or as `array` marked it? A table that only was never
---filled is not.
---@return boolean
function M.is_array(value)
    return type(value) == "table"
        and (#value > 0 or getmetatable(value) == host.array_metatable)
end

function host.number_metatable.__tostring(self)
    return self.text
end

---Is it a number that no Lua number can hold, such as 2^53 + 1? tostring gives its digits.
function M.is_number(value)
    return getmetatable(value) == host.number_metatable
end

---Keys are sorted, so that equal tables give equal text.
---@return string
function M.encode(value)
    return (check(host.encode(value)))
end

---As encode, for what is shown or kept: each string is masked by itself. In one that holds JSON, or
---whatever else writes quotes in its own way, a secret is not known again once it is encoded.
---@return string
function M.masked(value)
    return (check(host.masked(value)))
end

---The body of a request: a string, or a sealed value when a secret stands in it.
---@return string|userdata
function M.body(value)
    return (check(host.body(value)))
end

---Does a Lua number hold what these digits say?
local function fits(digits)
    local n = tonumber(digits)
    if not n or math.abs(n) == math.huge then
        return n == nil
    elseif digits:find("^-?%d+$") then
        return math.abs(n) < 2 ^ 53
    end
    return #digits:gsub("[eE].*", ""):gsub("^-?0*%.?0*", ""):gsub("%.", "") <= 17
end

---The position behind the string that begins at `at`.
local function string_end(text, at)
    repeat
        at = text:find('["\\]', at + 1)
        if not at then
            return #text + 1
        end
        local escape = text:byte(at) == 92
        at = escape and at + 1 or at
    until not escape
    return at + 1
end

---The text with strings in place of what cjson would lose: `[]`, and numbers too large for Lua.
local function protect(text, mark)
    local parts, from, at = {}, 1, 1
    local function put(before, what, behind)
        parts[#parts + 1] = text:sub(from, before - 1)
        parts[#parts + 1] = ('"%s%s"'):format(mark, what)
        from = behind
    end
    while true do
        at = text:find('["%[%d-]', at)
        if not at then
            parts[#parts + 1] = text:sub(from)
            return table.concat(parts)
        end
        local c = text:sub(at, at)
        if c == '"' then
            at = string_end(text, at)
        elseif c == "[" then
            local _, close = text:find("^%[[ \t\r\n]*%]", at)
            if close then
                put(at, "", close + 1)
            end
            at = (close or at) + 1
        else
            local digits = text:match("^-?[%d.eE+-]+", at) or c
            if not fits(digits) then
                put(at, digits, at + #digits)
            end
            at = at + #digits
        end
    end
end

local function unprotect(value, mark)
    if type(value) == "string" and value:sub(1, #mark) == mark then
        local digits = value:sub(#mark + 1)
        return digits == "" and M.array {} or setmetatable({ text = digits }, host.number_metatable)
    elseif type(value) == "table" then
        for name, item in pairs(value) do
            value[name] = unprotect(item, mark)
        end
    end
    return value
end

local function decode(text)
    local risky = text:find("%[%s*%]") or text:find("%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d")
        or text:find("%d[eE]") or text:find("%.%d%d%d%d%d%d%d%d%d%d%d%d%d%d")
    if not risky then
        return cjson.decode(text)
    end
    local mark = "dgrun:"
    while text:find(mark, 1, true) do
        mark = mark .. ":"
    end
    local value, reason = cjson.decode(protect(text, mark))
    if value == nil then
        -- cjson names a position, which is to be that of the text as it came.
        local _, plain = cjson.decode(text)
        return nil, plain or reason
    end
    return unprotect(value, mark)
end

local literals = { ["true"] = true, ["false"] = true, null = true }

local function is_number(token)
    local whole, fraction, exponent = token:match "^-?(%d+)(%.?%d*)([eE]?[+-]?%d*)$"
    return whole ~= nil and (whole == "0" or whole:sub(1, 1) ~= "0") and fraction ~= "."
        and (exponent == "" or exponent:find "^[eE][+-]?%d+$" ~= nil)
        and math.abs(tonumber(token)) < math.huge
end

---What JSON does not allow, although `decode` reads it: NaN, 0x10, 01, a line break in a string.
---@param text string
---@return string? problem
function M.laxity(text)
    local at = 1
    while true do
        at = text:find('["%w+.-]', at)
        if not at then
            return nil
        end
        local stop
        if text:sub(at, at) == '"' then
            stop = string_end(text, at)
            if text:sub(at, stop - 1):find "[%z\1-\31]" then
                return "a string has a control character in it"
            end
        else
            local token = text:match("^[%w+.-]+", at)
            stop = at + #token
            if not literals[token] and not is_number(token) then
                return ("'%s' is not a JSON value"):format(token)
            end
        end
        at = stop
    end
end

---Empty arrays stay arrays when they are encoded again; numbers that Lua cannot hold stay as they
---are (`is_number`).
---@param text string
---@param source? string for the message: where the text came from
---@return any
function M.decode(text, source)
    local value, reason = decode(text)
    if value == nil then
        err.raise { code = "json.invalid", op = "json.decode",
            msg = ("%s: %s"):format(source or "JSON", reason) }
    end
    return value
end

return M
