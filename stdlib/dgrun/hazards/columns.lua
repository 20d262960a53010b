-- Columns and constraints, as CREATE TABLE and ALTER TABLE … ADD write them.
local M = {}

local function set(words)
    local found = {}
    for word in words:gmatch("%S+") do
        found[word] = true
    end
    return found
end

-- What ends a default, or a type, in a column (docs, CREATE TABLE, column_constraint).
local constraint_words = set("not null default primary unique references check generated collate "
    .. "constraint")
local type_ends = set("not null default primary unique references check generated collate "
    .. "constraint storage compression deferrable initially using as")

local serials = set "serial serial2 serial4 serial8 bigserial smallserial"

local spellings = {
    { "^character varying", "varchar" }, { "^char varying", "varchar" },
    { "^bit varying", "varbit" }, { "^decimal", "numeric" }, { "^bpchar", "char" },
    { "^character", "char" }, { "^pg_catalog%.", "" },
}

local function spelt(text)
    for _, spelling in ipairs(spellings) do
        text = text:gsub(spelling[1], spelling[2])
    end
    return text
end

---The type that begins here, in one spelling: "varchar(30)".
---@param c dgrun.hazards.cursor
---@return string
function M.type(c)
    local first = c.at
    while not c:done() and not type_ends[c:word() or ""] do
        c:skip()
    end
    local part = setmetatable({ tokens = c.tokens, at = first, last = c.at - 1 }, getmetatable(c))
    return spelt(part:text())
end

-- Functions that are not volatile (docs, 38.7 "Function Volatility Categories"): PostgreSQL 11
-- and later computes them once. A function that is not here is taken for volatile, as is the
-- default of CREATE FUNCTION.
local steady = set("now transaction_timestamp statement_timestamp current_timestamp current_time "
    .. "localtimestamp localtime timezone date_trunc date_part extract make_date make_interval "
    .. "make_timestamp to_timestamp to_date to_char to_number to_json to_jsonb json_build_object "
    .. "jsonb_build_object json_build_array jsonb_build_array jsonb_object array_fill coalesce "
    .. "nullif greatest least lower upper concat length md5 repeat replace trim btrim abs round "
    .. "floor ceil current_setting session_user current_database current_schema "
    .. "uuid_nil row cast in and or not case when then else any all between")

---The first function of an expression that may give each row another value.
---@param tokens dgrun.hazards.token[]
local function volatile_in(tokens, first, last)
    for i = first, last - 1 do
        local token, next_one, before = tokens[i], tokens[i + 1], tokens[i - 1]
        local is_call = (token.kind == "word" or token.kind == "quoted")
            and next_one.kind == "symbol" and next_one.text == "("
        local is_type = before.text == "::" or before.text == "as"
            or before.text == "varying" or token.text == "varying"
        local of_catalog = before.text ~= "." or tokens[i - 2].text == "pg_catalog"
        if is_call and not is_type and not (steady[token.text] and of_catalog) then
            return token.text
        end
    end
end

---Goes past a DEFAULT's expression.
local function read_default(c, column)
    local first = c.at
    repeat
        c:skip()
    until c:done() or constraint_words[c:word() or ""]
    column.default = true
    column.null_default = c.at - first == 1 and c.tokens[first].text == "null"
    column.volatile = volatile_in(c.tokens, first, c.at - 1)
end

local function read_generated(c, column)
    if c:take("always", "as", "identity") or c:take("by", "default", "as", "identity") then
        column.identity = true
    elseif c:take("always", "as") then
        c:skip()
        column.stored = c:take("stored")
    end
end

local function read_constraint(c, column, schema)
    local constraints = column.constraints
    if c:take("not", "null") then
        column.not_null = true
    elseif c:take("default") then
        read_default(c, column)
    elseif c:take("generated") then
        read_generated(c, column)
    elseif c:take("primary", "key") then
        constraints[#constraints + 1] = { type = "primary key" }
    elseif c:take("unique") then
        constraints[#constraints + 1] = { type = "unique" }
    elseif c:take("references") then
        constraints[#constraints + 1] = { type = "foreign key", references = c:name(schema) }
    elseif c:take("check") then
        constraints[#constraints + 1] = { type = "check" }
    else
        c:skip()
    end
end

---@param c dgrun.hazards.cursor at the name
---@param schema? string
---@return table column {name, type, not_null, default, volatile, serial, identity, stored, …}
function M.column(c, schema)
    local column = { name = c:plain_name() or "?", type = M.type(c), constraints = {} }
    column.serial = serials[column.type]
    while not c:done() do
        read_constraint(c, column, schema)
    end
    return column
end

---The column of "(c IS NOT NULL)", however many parentheses there are.
local function not_null_of(c)
    local inside = c:parens()
    while inside and inside:is_symbol("(") do
        inside = inside:parens()
    end
    local name = inside and inside:plain_name()
    if name and inside:take("is", "not", "null") and inside:done() then
        return name
    end
end

local kinds = {
    { "check" }, { "unique" }, { "primary", "key" }, { "foreign", "key" }, { "exclude" },
    { "not", "null" },
}

---The constraint of a table that begins here, or nothing: then it is a column.
---@param c dgrun.hazards.cursor
---@param schema? string
---@return table? constraint {type, name, not_valid, using_index, not_null_of, references}
function M.constraint(c, schema)
    local found = {}
    if c:take("constraint") then
        found.name = c:plain_name()
    end
    for _, kind in ipairs(kinds) do
        if c:take(unpack(kind)) then
            found.type = table.concat(kind, " ")
            break
        end
    end
    if not found.type then
        return found.name and found or nil
    end
    found.using_index = c:take("using", "index")
    found.not_null_of = found.type == "check" and not_null_of(c)
        or found.type == "not null" and c:plain_name() or nil
    found.not_valid = c:has("not", "valid")
    found.references = found.type == "foreign key" and c:find("references") and c:name(schema)
        or nil
    return found
end

return M
