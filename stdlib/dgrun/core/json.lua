-- JSON, with the answers to what cjson leaves open: an empty table is {} unless made an array or
-- read as one, numbers keep all their digits (cjson prints 14, and reads 15 to 17), a sealed value
-- stands in a request body only.
local cjson = require "cjson.safe".new()
local err = require "dgrun.core.err"
local secret_of = require "host.secret"

cjson.decode_max_depth(200)

local M = {}

M.null = cjson.null

local array_metatable = { __name = "dgrun.json.array" }

---Marks a table as an array, so that it encodes as [] even when empty.
---@generic T: table
---@param t T
---@return T
function M.array(t)
    return setmetatable(t, array_metatable)
end

local number_metatable = { __name = "dgrun.json.number",
    __tostring = function(self) return self.text end }

---Is it a number that no Lua number can hold, such as 2^53 + 1? tostring gives its digits.
function M.is_number(value)
    return getmetatable(value) == number_metatable
end

local function secret_test(value)
    local secret = package.loaded["host.secret"]
    return secret and secret.is(value)
end

local function is_array(t)
    if getmetatable(t) == array_metatable then
        return true
    end
    return #t > 0
end

local function number(n, path)
    if n ~= n or n == math.huge or n == -math.huge then
        err.raise { code = "json.invalid", op = "json.encode",
            msg = ("%s: %s is not a JSON number"):format(path, tostring(n)) }
    elseif n % 1 == 0 and math.abs(n) <= 2 ^ 53 then
        return ("%d"):format(n)
    end
    for digits = 15, 16 do
        local text = ("%." .. digits .. "g"):format(n)
        if tonumber(text) == n then
            return text
        end
    end
    return ("%.17g"):format(n)
end

local write

local function write_object(t, out, opts, path)
    local keys = {}
    for key in pairs(t) do
        if type(key) ~= "string" and type(key) ~= "number" then
            err.raise { code = "json.invalid", op = "json.encode",
                msg = ("%s: a key is a %s"):format(path, type(key)) }
        end
        keys[#keys + 1] = key
    end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    out[#out + 1] = "{"
    for i, key in ipairs(keys) do
        local name = tostring(key)
        out[#out + 1] = (i > 1 and "," or "")
            .. cjson.encode(opts.masked and opts.masked(name) or name) .. ":"
        write(t[key], out, opts, path .. "." .. tostring(key))
    end
    out[#out + 1] = "}"
end

function write(value, out, opts, path)
    local kind = type(value)
    if #path > 4000 then
        err.raise { code = "json.invalid", op = "json.encode",
            msg = "the value is nested too deeply or refers to itself" }
    elseif kind == "table" and is_array(value) then
        out[#out + 1] = "["
        for i = 1, #value do
            if i > 1 then
                out[#out + 1] = ","
            end
            write(value[i], out, opts, ("%s[%d]"):format(path, i))
        end
        out[#out + 1] = "]"
    elseif M.is_number(value) then
        out[#out + 1] = value.text
    elseif kind == "table" then
        local encode = (getmetatable(value) or {}).__json
        if encode then
            return write(encode(value, opts), out, opts, path)
        end
        write_object(value, out, opts, path)
    elseif secret_test(value) then
        if not opts.sealed then
            err.raise { code = "json.sealed", op = "json.encode",
                msg = ("%s: %s cannot be encoded as JSON"):format(path, tostring(value)),
                hint = "Only the body of a request may contain a secret." }
        end
        out[#out + 1] = value:json()
    elseif kind == "number" then
        out[#out + 1] = number(value, path)
    else
        local text, reason = cjson.encode(kind == "string" and opts.masked
            and opts.masked(value) or value)
        if not text then
            err.raise { code = "json.invalid", op = "json.encode",
                msg = ("%s: %s"):format(path, reason) }
        end
        -- cjson writes \/ for /, which is right but hard to read
        out[#out + 1] = kind == "string" and text:gsub("\\/", "/") or text
    end
end

---Keys are sorted, so that equal tables give equal text.
---@return string
function M.encode(value)
    local out = {}
    write(value, out, {}, "value")
    return table.concat(out)
end

---As encode, for what is shown or kept: each string is masked by itself. In one that holds JSON, or
---whatever else writes quotes in its own way, a secret is not known again once it is encoded.
---@return string
function M.masked(value)
    local out, redact = {}, secret_of.redact
    write(value, out, { masked = function(text) return (redact(text)) end }, "value")
    return table.concat(out)
end

---The body of a request: a string, or a sealed value when a secret stands in it.
---@return string|userdata
function M.body(value)
    local out = {}
    write(value, out, { sealed = true }, "body")
    local body, text = nil, {}
    for _, part in ipairs(out) do
        if type(part) == "string" then
            text[#text + 1] = part
        else
            body = (body or "") .. table.concat(text) .. part
            text = {}
        end
    end
    return (body or "") .. table.concat(text)
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
        return digits == "" and M.array {} or setmetatable({ text = digits }, number_metatable)
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
