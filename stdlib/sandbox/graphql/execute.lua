-- Executes a document over a schema: October 2021 specification, sections 5 and 6. Everything that
-- can be seen without data, such as fields that do not exist, is refused before anything runs.
local answer = require "sandbox.answer"
local coerce = require "sandbox.graphql.coerce"
local json = require "dgrun.core.json"
local parser = require "sandbox.graphql.parser"

local M = {}

---@class sandbox.graphql.schema
---@field types table<string, {fields: table<string, sandbox.graphql.field>}> objects by name
---@field unions table<string, string[]> object types of each union or interface
---@field inputs table<string, table<string, string>>
---@field enums table<string, table<string, true>>

---@class sandbox.graphql.field
---@field type string as the schema language writes it
---@field arguments? table<string, string>
---@field resolve? fun(source: table, arguments: table, context: any): any; the source's own field
---  of that name when absent

local function fail(text, at, code)
    error({ graphql = true, message = text, code = code,
        locations = at and { { line = at.line, column = at.column } } or nil }, 0)
end

local function bare(kind)
    return (kind:gsub("[%[%]!]", ""))
end

local function is_composite(schema, name)
    return schema.types[name] ~= nil or schema.unions[name] ~= nil
end

local Check = {}
Check.__index = Check

function Check:directives(directives)
    for _, directive in ipairs(directives) do
        if directive.name ~= "include" and directive.name ~= "skip" then
            fail(('Unknown directive "@%s".'):format(directive.name), directive.at)
        end
        local argument = directive.arguments[1]
        if #directive.arguments ~= 1 or argument.name ~= "if" then
            fail(('Directive "@%s" needs the argument "if".'):format(directive.name), directive.at)
        end
        self:value(argument.value)
    end
end

---Every variable must be declared.
function Check:value(node)
    if node.kind == "variable" and not self.declared[node.name] then
        fail(('Variable "$%s" is not defined.'):format(node.name), node.at)
    end
    for _, item in ipairs(node.items or {}) do
        self:value(item)
    end
    for _, field in ipairs(node.fields or {}) do
        self:value(field.value)
    end
end

function Check:field(selection, type_name)
    local object = self.schema.types[type_name]
    local field = object and object.fields[selection.name]
    if selection.name == "__typename" then
        field = { type = "String!" }
    elseif not field then
        fail(('Field \'%s\' doesn\'t exist on type \'%s\''):format(selection.name, type_name),
            selection.at, "undefinedField")
    end
    local given = {}
    for _, argument in ipairs(selection.arguments) do
        if not (field.arguments or {})[argument.name] then
            fail(("Field '%s' doesn't accept argument '%s'"):format(selection.name, argument.name),
                argument.at, "argumentNotAccepted")
        end
        given[argument.name] = true
        self:value(argument.value)
    end
    for name, kind in pairs(field.arguments or {}) do
        if kind:sub(-1) == "!" and not given[name] then
            fail(("Field '%s' is missing required arguments: %s"):format(selection.name, name),
                selection.at, "missingRequiredArguments")
        end
    end
    local inner = bare(field.type)
    if is_composite(self.schema, inner) then
        if not selection.selections then
            fail(("Field must have selections (field '%s' returns %s but has no selections)")
                :format(selection.name, inner), selection.at, "selectionMismatch")
        end
        self:selections(selection.selections, inner)
    elseif selection.selections then
        fail(("Selections can't be made on scalars (field '%s' returns %s)"):format(
            selection.name, inner), selection.at, "selectionMismatch")
    end
end

function Check:condition(name, at)
    if name and not is_composite(self.schema, name) then
        fail(("No such type %s, so it can't be a fragment condition"):format(name), at)
    end
end

function Check:selections(selections, type_name)
    for _, selection in ipairs(selections) do
        self:directives(selection.directives)
        if selection.kind == "field" then
            self:field(selection, type_name)
        elseif selection.kind == "inline" then
            self:condition(selection.on, selection.at)
            self:selections(selection.selections, selection.on or type_name)
        else
            local fragment = self.fragments[selection.name]
            if not fragment then
                fail(("Fragment %s was used, but not defined"):format(selection.name), selection.at)
            elseif self.open[selection.name] then
                fail(("Fragment %s contains an infinite loop"):format(selection.name),
                    selection.at)
            end
            self.steps = self.steps + 1
            if self.steps > 1000 then
                fail("Too many fragment spreads", selection.at)
            end
            self:condition(fragment.on, fragment.at)
            self.open[selection.name] = true
            self:selections(fragment.selections, fragment.on)
            self.open[selection.name] = nil
        end
    end
end

local function variables_of(schema, operation, given)
    local values = {}
    for _, variable in ipairs(operation.variables) do
        local kind = coerce.type_text(variable.type)
        if not coerce.is_input(schema, bare(kind)) then
            fail(("%s isn't a defined input type (on $%s)"):format(bare(kind), variable.name),
                variable.at)
        end
        local value = given[variable.name]
        if value == nil and variable.default then
            value = coerce.literal(variable.default, {})
        end
        local ok, result = pcall(coerce.value, schema, kind, value, "$" .. variable.name)
        if not ok and result.graphql then
            fail(("Variable $%s of type %s was provided invalid value: %s"):format(variable.name,
                kind, result.message), variable.at)
        elseif not ok then
            error(result, 0)
        end
        values[variable.name] = result
    end
    return values
end

local Run = {}
Run.__index = Run

function Run:included(directives)
    for _, directive in ipairs(directives) do
        local value = coerce.literal(directive.arguments[1].value, self.variables)
        if (directive.name == "skip") == (value == true) then
            return false
        end
    end
    return true
end

function Run:applies(condition, type_name)
    if not condition or condition == type_name then
        return true
    end
    for _, member in ipairs(self.schema.unions[condition] or {}) do
        if member == type_name then
            return true
        end
    end
    return false
end

---The fields of a selection set, those of one key together, in the order they first stand in.
function Run:collect(selections, type_name, found)
    for _, selection in ipairs(selections) do
        if self:included(selection.directives) then
            if selection.kind == "field" then
                local key = selection.key
                if not found.by_key[key] then
                    found.by_key[key] = {}
                    found[#found + 1] = key
                end
                table.insert(found.by_key[key], selection)
            else
                local fragment = selection.kind == "spread" and self.fragments[selection.name]
                    or selection
                if self:applies(fragment.on, type_name) then
                    self:collect(fragment.selections, type_name, found)
                end
            end
        end
    end
    return found
end

function Run:arguments(field, selection)
    local given = {}
    for _, argument in ipairs(selection.arguments) do
        given[argument.name] = coerce.literal(argument.value, self.variables)
    end
    local values = {}
    for name, kind in pairs(field.arguments or {}) do
        values[name] = coerce.value(self.schema, kind, given[name], "argument " .. name)
    end
    return values
end

function Run:complete(kind, value, fields, path)
    local optional, required = kind:match "^(.-)(!?)$"
    if value == nil or value == json.null then
        if required == "!" then
            fail(("Cannot return null for non-nullable field %s"):format(fields[1].name))
        end
        return json.null
    end
    local item = optional:match "^%[(.*)%]$"
    if item then
        local list = json.array {}
        for i, one in ipairs(value) do
            list[i] = self:complete(item, one, fields, { path, i - 1 })
        end
        return list
    elseif is_composite(self.schema, optional) then
        local type_name = self.schema.unions[optional] and value.__typename or optional
        local selections = {}
        for _, field in ipairs(fields) do
            for _, selection in ipairs(field.selections) do
                selections[#selections + 1] = selection
            end
        end
        return self:object(selections, type_name, value, path)
    end
    return value
end

local function flat(path)
    local result = json.array {}
    while path do
        table.insert(result, 1, path[2])
        path = path[1]
    end
    return result
end

---What a field answers; an error of one that may be null becomes null and is told.
function Run:field(object, type_name, fields, source, path)
    local selection = fields[1]
    if selection.name == "__typename" then
        return type_name
    end
    local field = object.fields[selection.name]
    local ok, result = pcall(function()
        local arguments = self:arguments(field, selection)
        local value
        if field.resolve then
            value = field.resolve(source, arguments, self.context)
        else
            value = source[selection.name]
        end
        return self:complete(field.type, value, fields, path)
    end)
    if ok then
        return result
    end
    if not result.told then
        self:tell(result, path, selection.at)
    end
    if field.type:sub(-1) == "!" then
        error({ graphql = true, told = true }, 0)
    end
    return json.null
end

---Errors of resolvers are those of the other APIs too.
function Run:tell(e, path, at)
    local known = type(e) == "table" and (e.graphql or answer.is(e))
    if not known then
        error(e, 0)
    end
    self.errors[#self.errors + 1] = {
        message = e.message or e.body.error, path = flat(path),
        locations = e.locations or { { line = at.line, column = at.column } },
        extensions = { code = e.code or (e.status == 404 and "NOT_FOUND") or "UNPROCESSABLE" },
    }
end

function Run:object(selections, type_name, source, path)
    local object = self.schema.types[type_name]
    local found = self:collect(selections, type_name, { by_key = {} })
    local result = {}
    for _, key in ipairs(found) do
        result[key] = self:field(object, type_name, found.by_key[key], source, { path, key })
    end
    return result
end

local function chosen(document, name)
    if #document.operations == 0 then
        fail "Must provide an operation."
    elseif not name and #document.operations > 1 then
        fail "Must provide operation name if query contains multiple operations."
    end
    for _, operation in ipairs(document.operations) do
        if not name or operation.name == name then
            return operation
        end
    end
    fail(('No operation named "%s"'):format(name))
end

local roots = { query = "Query", mutation = "Mutation" }

---@param schema sandbox.graphql.schema
---@param request {query: string, variables?: table, operationName?: string}
---@param context any handed to resolvers
---@return {data?: any, errors?: table[]}
function M.execute(schema, request, context)
    local run
    local ok, result = pcall(function()
        local document = parser.parse(request.query)
        local operation = chosen(document, request.operationName)
        local root = roots[operation.kind]
            or fail("Schema is not configured for subscriptions", operation.at)
        for _, one in ipairs(document.operations) do
            local declared = {}
            for _, variable in ipairs(one.variables) do
                declared[variable.name] = true
            end
            setmetatable({ schema = schema, fragments = document.fragments, open = {}, steps = 0,
                declared = declared }, Check):selections(one.selections, roots[one.kind] or root)
        end
        run = setmetatable({
            schema = schema, fragments = document.fragments, context = context, errors = {},
            variables = variables_of(schema, operation, request.variables or {}),
        }, Run)
        return run:object(operation.selections, root, {}, nil)
    end)
    if not ok and type(result) == "table" and result.graphql then
        if result.told then
            return { data = json.null, errors = json.array(run.errors) }
        end
        return { errors = json.array { {
            message = result.message, locations = result.locations,
            extensions = { code = result.code or "GRAPHQL_VALIDATION_FAILED" },
        } } }
    elseif not ok then
        error(result, 0)
    end
    return { data = result, errors = #run.errors > 0 and json.array(run.errors) or nil }
end

return M
