-- Values of arguments and variables by their types: October 2021 specification, section 3 "Input
-- coercion". A type here is a text as in the schema language: "[String!]!", "CreateAppInput!".
local json = require "dgrun.core.json"

local M = {}

local function fail(text)
    error({ graphql = true, message = text }, 0)
end

local function shown(value)
    local ok, text = pcall(json.encode, value)
    return ok and text:sub(1, 100) or tostring(value)
end

local function text_or_number(value)
    return (type(value) == "string" or (type(value) == "number" and value % 1 == 0))
        and (type(value) == "string" and value or ("%d"):format(value)) or nil
end

local scalars = {
    String = function(value) return type(value) == "string" and value or nil end,
    ID = text_or_number,
    BigInt = text_or_number,
    ISO8601DateTime = function(value) return type(value) == "string" and value or nil end,
    Boolean = function(value)
        if type(value) == "boolean" then
            return value
        end
    end,
    Int = function(value)
        return type(value) == "number" and value % 1 == 0 and math.abs(value) < 2 ^ 31 and value
            or nil
    end,
    Float = function(value) return type(value) == "number" and value or nil end,
    JSON = function(value) return value end,
}

local function input_object(schema, fields, value, name, path)
    if type(value) ~= "table" or json.is_array(value) then
        fail(("%s: expected value of type %s, found %s"):format(path, name, shown(value)))
    end
    local result = {}
    for key in pairs(value) do
        if not fields[key] then
            fail(('%s: field "%s" is not defined by type %s'):format(path, tostring(key), name))
        end
    end
    for key, kind in pairs(fields) do
        result[key] = M.value(schema, kind, value[key], path .. "." .. key)
    end
    return result
end

---@param schema table
---@param kind string
---@param value any as JSON gives it; nil when it was not given
---@param path string for messages
---@return any
function M.value(schema, kind, value, path)
    local optional, required = kind:match "^(.-)(!?)$"
    if value == nil or value == json.null then
        if required == "!" then
            fail(("%s: expected type %s, found null"):format(path, kind))
        end
        return nil
    end
    local item = optional:match "^%[(.*)%]$"
    if item then
        -- A single value stands for a list of itself; an empty object is not one.
        local list = json.is_array(value) and value or { value }
        local result = json.array {}
        for i, one in ipairs(list) do
            result[i] = M.value(schema, item, one, ("%s[%d]"):format(path, i - 1))
        end
        return result
    elseif schema.inputs[optional] then
        return input_object(schema, schema.inputs[optional], value, optional, path)
    end
    local result
    if schema.enums[optional] then
        result = schema.enums[optional][value] and value or nil
    elseif scalars[optional] then
        result = scalars[optional](value)
    else
        fail(("%s: there is no type %s"):format(path, optional))
    end
    if result == nil then
        fail(("%s: expected value of type %s, found %s"):format(path, kind, shown(value)))
    end
    return result
end

---Is there a type of this name that may be given?
function M.is_input(schema, name)
    return scalars[name] ~= nil or schema.enums[name] ~= nil or schema.inputs[name] ~= nil
end

---The text of a type as a document writes it.
function M.type_text(kind)
    local text = kind.list and "[" .. M.type_text(kind.list) .. "]" or kind.name
    return text .. (kind.required and "!" or "")
end

---A value of a document as JSON; variables are looked up.
---@param node table of the parser
---@param variables table
---@return any # nil for a variable that was not given
function M.literal(node, variables)
    if node.kind == "variable" then
        return variables[node.name]
    elseif node.kind == "null" then
        return json.null
    elseif node.kind == "int" or node.kind == "float" then
        return tonumber(node.value)
    elseif node.kind == "list" then
        local items = json.array {}
        for i, item in ipairs(node.items) do
            local value = M.literal(item, variables)
            items[i] = value == nil and json.null or value
        end
        return items
    elseif node.kind == "object" then
        local object = {}
        for _, field in ipairs(node.fields) do
            object[field.name] = M.literal(field.value, variables)
        end
        return object
    end
    return node.value
end

return M
