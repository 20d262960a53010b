-- One statement as a tree, by PostgreSQL's own parser.
local cjson = require "cjson.safe".new()
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

-- Syntax of PostgreSQL 18, which the grammars of libpg_query 15 and 17 lack, written in theirs:
-- ADD [CONSTRAINT c] NOT NULL column, and generated columns that are VIRTUAL.

---The texts of the tokens, in lower case.
local function words_of(text)
    local words = sql.words(text) or {}
    for _, word in ipairs(words) do
        word.text = text:sub(word.from, word.to):lower()
    end
    return words
end

local function is(words, at, ...)
    for i = 1, select("#", ...) do
        if not words[at + i - 1] or words[at + i - 1].text ~= (select(i, ...)) then
            return false
        end
    end
    return true
end

---The parenthesis that closes what opens at `at`.
local function closing(words, at)
    local depth = 0
    for i = at, #words do
        depth = depth + (words[i].text == "(" and 1 or words[i].text == ")" and -1 or 0)
        if depth == 0 then
            return i
        end
    end
end

---Where ADD [CONSTRAINT c] NOT NULL column has its NOT.
local function not_null_at(words, at)
    if not is(words, at, "add") then
        return nil
    end
    local name = is(words, at + 1, "constraint") and 2 or 0
    return is(words, at + 1 + name, "not", "null") and words[at + 3 + name] and at + 1 + name
end

---The last word of GENERATED ALWAYS AS (…) VIRTUAL; VIRTUAL is the default.
local function virtual_end(words, at)
    local to = is(words, at, "generated", "always", "as", "(") and closing(words, at + 3)
    if not to or is(words, to + 1, "stored") then
        return nil
    end
    return is(words, to + 1, "virtual") and to + 1 or to
end

---@param text string one statement
---@return string? # the statement in the older grammar; nil when there is nothing to rewrite
---@return table<integer, string> # where a NOT NULL begins (bytes from 0) → its column
local function rewrite(text)
    local words, out, from, columns = words_of(text), {}, 1, {}
    local length = 0
    local function put(part)
        out[#out + 1] = part
        length = length + #part
    end
    for at = 1, #words do
        local no, virtual = not_null_at(words, at), virtual_end(words, at)
        if no then
            put(text:sub(from, words[at + 1].from - 1))
            columns[length] = words[no + 2].text:gsub('^"(.*)"$', "%1")
            put(text:sub(words[at + 1].from, words[no].from - 1))
            local column = text:sub(words[no + 2].from, words[no + 2].to)
            put(("CHECK (%s IS NOT NULL)"):format(column))
            from = words[no + 2].to + 1
        elseif virtual and words[at].from >= from then
            put(text:sub(from, words[at].from - 1))
            from = words[virtual].to + 1
        end
    end
    if #out == 0 then
        return nil, columns
    end
    put(text:sub(from))
    return table.concat(out), columns
end

---Makes the constraints that were rewritten NOT NULL again, as PostgreSQL 18 has them in its tree.
---@param statement table
---@param columns table<integer, string>
local function restore(statement, columns)
    for _, cmd in ipairs((statement.AlterTableStmt or {}).cmds or {}) do
        local constraint = ((cmd.AlterTableCmd or {}).def or {}).Constraint
        local column = constraint and columns[constraint.location or 0]
        if column then
            constraint.contype, constraint.keys = "CONSTR_NOTNULL",
                { { String = { sval = column } } }
        end
    end
end

---@param text string one statement
---@return table? tree {AlterTableStmt = {…}}
---@return string? reason why it does not parse
function M.parse(text)
    local found, reason = first_statement(text)
    if found then
        return found
    end
    local rewritten, columns = rewrite(text)
    if rewritten then
        found = first_statement(rewritten)
        if found then
            restore(found, columns)
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
