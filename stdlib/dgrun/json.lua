-- JSON, with the answers to what cjson leaves open: an empty table is {} unless made an array,
-- numbers keep all their digits (cjson prints 14), a sealed value stands in a request body only.
local cjson = require "cjson.safe".new()
local err = require "dgrun.err"

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
            msg = ("%s: %s is no JSON number"):format(path, tostring(n)) }
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
        out[#out + 1] = (i > 1 and "," or "") .. cjson.encode(tostring(key)) .. ":"
        write(t[key], out, opts, path .. "." .. tostring(key))
    end
    out[#out + 1] = "}"
end

function write(value, out, opts, path)
    local kind = type(value)
    if #path > 4000 then
        err.raise { code = "json.invalid", op = "json.encode",
            msg = "too deep, or refers to itself" }
    elseif kind == "table" and is_array(value) then
        out[#out + 1] = "["
        for i = 1, #value do
            if i > 1 then
                out[#out + 1] = ","
            end
            write(value[i], out, opts, ("%s[%d]"):format(path, i))
        end
        out[#out + 1] = "]"
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
                hint = "A secret may stand in the body of a request only." }
        end
        out[#out + 1] = value:json()
    elseif kind == "number" then
        out[#out + 1] = number(value, path)
    else
        local text, reason = cjson.encode(value)
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

---@param text string
---@param source? string for the message: where the text came from
---@return any
function M.decode(text, source)
    local value, reason = cjson.decode(text)
    if value == nil then
        err.raise { code = "json.invalid", op = "json.decode",
            msg = ("%s: %s"):format(source or "JSON", reason) }
    end
    return value
end

return M
