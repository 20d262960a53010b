-- Reading the tree of PostgreSQL's parser (libpg_query): names, types, constants, options. What is
-- zero or empty is left out of the tree.
local M = {}

---The kind of a node and its fields: {AlterTableStmt = {…}}.
---@param node? table
---@return string? kind
---@return table fields
function M.node(node)
    local kind, fields = next(node or {})
    return kind, fields or {}
end

---A part of a name, written so that "a.b" is not a.b.
local function quoted(part)
    return part:find('[."]') and ('"%s"'):format(part:gsub('"', '""')) or part
end

---@param part? string
---@return string?
function M.part(part)
    return part and quoted(part)
end

---`public` is left out: it is where unqualified names live unless the search_path was set (docs,
---5.10.3 "The Schema Search Path").
local function qualified(own, name, schema)
    own = own or schema
    if not own or own == "public" then
        return quoted(name)
    end
    return quoted(own) .. "." .. quoted(name)
end

---The name of a RangeVar.
---@param range? {schemaname?: string, relname?: string}
---@param schema? string where unqualified names live
---@return string?
function M.relation(range, schema)
    return range and range.relname and qualified(range.schemaname, range.relname, schema)
end

---The texts of a list of String nodes.
---@param list? table[]
---@return string[]
function M.strings(list)
    local texts = {}
    for _, item in ipairs(list or {}) do
        texts[#texts + 1] = item.String and (item.String.sval or "")
    end
    return texts
end

---A name that is a list of String nodes.
---@param list? table[]
---@param schema? string
---@return string
function M.name(list, schema)
    local parts = M.strings(list)
    local last = table.remove(parts)
    return last and qualified(parts[#parts], last, schema) or "?"
end

---The name of an object of any kind: of a DROP, a RENAME, a SET SCHEMA.
---@param node table
---@param schema? string
---@return string
function M.object(node, schema)
    local kind, fields = M.node(node)
    local list = kind == "List" and fields.items or kind == "TypeName" and fields.names
        or kind == "ObjectWithArgs" and fields.objname or { node }
    return M.name(list, schema)
end

---Of a trigger, a policy or a rule: the name of its table, and its own.
---@param node table
---@param schema? string
---@return string table
---@return string name
function M.owned(node, schema)
    local parts = { unpack(node.List and node.List.items or {}) }
    local own = M.strings { table.remove(parts) }[1] or "?"
    return M.name(parts, schema), quoted(own)
end

---A constant as text; nil for what is not one.
---@param node? table
---@return string?
function M.constant(node)
    local kind, fields = M.node(node)
    if kind == "TypeCast" then
        return M.constant(fields.arg)
    elseif kind == "Integer" or kind == "Float" or kind == "String" or kind == "Boolean" then
        fields = { [kind] = fields }
        return tostring(fields.Integer and (fields.Integer.ival or 0)
            or fields.Float and fields.Float.fval
            or fields.String and (fields.String.sval or "")
            or fields.Boolean and (fields.Boolean.boolval or false))
    elseif kind ~= "A_Const" or fields.isnull then
        return nil
    elseif fields.sval then
        return fields.sval.sval or ""
    elseif fields.ival then
        return tostring(fields.ival.ival or 0)
    elseif fields.fval then
        return fields.fval.fval
    end
    return fields.boolval and tostring(fields.boolval.boolval or false) or nil
end

---@param node? table
---@return boolean
function M.is_null(node)
    local kind, fields = M.node(node)
    if kind == "TypeCast" then
        return M.is_null(fields.arg)
    end
    return kind == "A_Const" and fields.isnull == true
end

---Does this list of options switch one on: (FULL), (FULL true), not (FULL off)?
---@param list? table[] of DefElem
---@param name string
---@return boolean
function M.option(list, name)
    for _, item in ipairs(list or {}) do
        if item.DefElem and item.DefElem.defname == name then
            local value = M.constant(item.DefElem.arg)
            return not (value == "false" or value == "off" or value == "0")
        end
    end
    return false
end

---A type in one spelling: "varchar(30)", "int4[]". The parser has resolved the names that are
---keywords: character varying is varchar, integer is int4, char(n) is bpchar.
---@param node? table a TypeName
---@return string
function M.type(node)
    local names = M.strings(node and node.names)
    local name = names[#names] or "?"
    if name == "char" and #names == 1 then
        name = '"char"'
    elseif name == "bpchar" then
        name = "char"
    end
    if #names > 1 and names[1] ~= "pg_catalog" then
        name = names[1] .. "." .. name
    end
    local sizes = {}
    for i, size in ipairs(node and node.typmods or {}) do
        sizes[i] = M.constant(size) or "?"
    end
    return name .. (#sizes > 0 and "(" .. table.concat(sizes, ",") .. ")" or "")
        .. ("[]"):rep(#(node and node.arrayBounds or {}))
end

return M
