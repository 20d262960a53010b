-- One statement as a tree, by PostgreSQL's own parser.
local cjson = require "cjson.safe".new()
local newer = require "dgrun.migrations.hazards.newer"
local sql = require "host.sql"

local M = {}

-- A chain of 1,000 operators is 2,000 levels deep. The decoder recurses: no more than its stack.
cjson.decode_max_depth(4000)

local function decoded(text)
    local found = cjson.decode(text)
    if not found then
        return nil, "nested too deeply"
    end
    return found
end

local function first_statement(text)
    local json, e = sql.parse(text)
    if not json then
        return nil, e.msg
    end
    local found, reason = decoded(json)
    return found and found.stmts[1] and found.stmts[1].stmt, reason or "no statement"
end

---@param text string one statement
---@return table? tree {AlterTableStmt = {…}}
---@return string? reason why it does not parse
function M.parse(text)
    local found, reason = first_statement(text)
    if found then
        return found
    end
    local rewritten, columns = newer.rewrite(text)
    if rewritten then
        found = first_statement(rewritten)
        if found then
            newer.restore(found, columns)
            return found
        end
    end
    return nil, reason
end

---@param text string a DO statement
---@return table? tree
function M.parse_plpgsql(text)
    local json = sql.parse_plpgsql(text)
    return json and (decoded(json))
end

return M
