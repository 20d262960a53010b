-- How the types of the GraphQL schema are written down, and how lists are answered by pages.
local answer = require "sandbox.answer"
local json = require "dgrun.core.json"

local M = {}

---Fields that are read from the source as they are.
---@param fields table<string, string> the type of each field
---@param more? table<string, sandbox.graphql.field>
---@return table<string, sandbox.graphql.field>
function M.plain(fields, more)
    local result = {}
    for name, kind in pairs(fields) do
        result[name] = { type = kind }
    end
    for name, field in pairs(more or {}) do
        result[name] = field
    end
    return result
end

---Adds the type of a list that comes by pages, with the types that it consists of.
---@param types table<string, table> of a schema
---@param item string name of the items' type
---@param edge? table<string, string> fields of an edge beside its cursor and node
---@param name? string of the connection, when it is not that of the items
function M.add_connection(types, item, edge, name)
    name = name or item
    local edge_fields = M.plain(edge or {})
    edge_fields.cursor, edge_fields.node = { type = "String!" }, { type = item }
    types[name .. "Edge"] = { fields = edge_fields }
    types[name .. "Connection"] = { fields = M.plain {
        nodes = ("[%s]"):format(item), edges = ("[%sEdge]"):format(name), pageInfo = "PageInfo!",
        totalCount = "Int!",
    } }
end

---The arguments of a field that gives a connection.
---@param more? table<string, string>
---@return table<string, string>
function M.page_arguments(more)
    local arguments = { first = "Int", last = "Int", after = "String", before = "String" }
    for name, kind in pairs(more or {}) do
        arguments[name] = kind
    end
    return arguments
end

---The position that a cursor stands for.
local function position(cursor, default)
    return cursor and (tonumber(cursor:match "^%d+$")
        or answer.fail(422, "the cursor is not one that was given out")) or default
end

---The page of a list that the arguments ask for. An item's cursor is its position.
---@param list table[]
---@param arguments {first?: integer, last?: integer, after?: string, before?: string}
---@param edge? fun(item: table): table fields of its edge
function M.page(list, arguments, edge)
    local from = math.max(1, position(arguments.after, 0) + 1)
    local to = math.min(#list, position(arguments.before, #list + 1) - 1)
    if arguments.first then
        to = math.min(to, from + arguments.first - 1)
    elseif arguments.last then
        from = math.max(from, to - arguments.last + 1)
    end
    local nodes, edges = json.array {}, json.array {}
    for i = from, to do
        local fields = edge and edge(list[i]) or {}
        fields.cursor, fields.node = ("%d"):format(i), list[i]
        nodes[#nodes + 1], edges[#edges + 1] = list[i], fields
    end
    return {
        nodes = nodes, edges = edges, totalCount = #list,
        pageInfo = {
            hasNextPage = to < #list, hasPreviousPage = from > 1,
            startCursor = edges[1] and edges[1].cursor or nil,
            endCursor = edges[1] and edges[#edges].cursor or nil,
        },
    }
end

return M
