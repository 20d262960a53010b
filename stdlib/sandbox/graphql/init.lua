-- POST /graphql: docs/fly/graphql.md, section 2.
local answer = require "sandbox.answer"
local json = require "dgrun.core.json"

local M = {}

function M.run(world, context, body)
    local query, name = body and body.query, body and body.operationName
    local variables = body and body.variables
    if type(query) ~= "string" then
        answer.fail(400, "query must be a string")
    elseif variables ~= nil and variables ~= json.null
        and (type(variables) ~= "table" or #variables > 0) then
        answer.fail(400, "variables must be an object")
    elseif name ~= nil and name ~= json.null and type(name) ~= "string" then
        answer.fail(400, "operationName must be a string")
    end
    return require("sandbox.graphql.execute").execute(require "sandbox.graphql.schema", {
        query = query, variables = variables ~= json.null and variables or nil,
        operationName = name ~= json.null and name or nil,
    }, { world = world, principal = context.principal })
end

return M
