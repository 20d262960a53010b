-- The words of an SQL text. PostgreSQL's lexical rules (docs, 4.1 "Lexical Structure") with
-- standard_conforming_strings on; SQLite's where they differ.
local err = require "dgrun.err"

local M = {}

M.LIMIT = 2 * 1024 * 1024

---@class dgrun.hazards.token
---@field kind "word"|"quoted"|"string"|"number"|"symbol"|"mark"
---@field text string words in lower case, what is quoted without its quotes
---@field from integer
---@field to integer

local function unterminated(sql, at, what)
    local _, newlines = sql:sub(1, at - 1):gsub("\n", "")
    err.raise {
        code = "hazards.unterminated", op = "hazards.judge", line = newlines + 1,
        msg = ("the %s that begins in line %d of the SQL has no end"):format(what, newlines + 1),
    }
end

---The end of what `quote` opens at `at`; a doubled quote stands for itself.
local function closing(sql, at, quote, backslash)
    local stop, i = backslash and "[\\" .. quote .. "]" or quote, at + 1
    while true do
        local found = sql:find(stop, i)
        if not found then
            unterminated(sql, at, quote == "'" and "string" or "quoted name")
        elseif sql:sub(found, found) == quote and sql:sub(found + 1, found + 1) ~= quote then
            return found
        end
        i = found + 2
    end
end

local function quoted(sql, at, quote, kind, backslash)
    local to = closing(sql, at, quote, backslash)
    return kind, (sql:sub(at + 1, to - 1):gsub(quote .. quote, quote)), to
end

---The end of a block comment; PostgreSQL's nest.
local function comment_end(sql, at)
    local depth, i = 1, at + 2
    while depth > 0 do
        local from = sql:find("[/*][*/]", i)
        local pair = from and sql:sub(from, from + 1)
        if not from then
            unterminated(sql, at, "comment")
        elseif pair == "/*" or pair == "*/" then
            depth, i = depth + (pair == "/*" and 1 or -1), from + 2
        else
            i = from + 1
        end
    end
    return i - 1
end

---SQLite's comments neither nest nor need an end.
local function flat_comment_end(sql, at)
    local _, to = sql:find("*/", at + 2, true)
    return to or #sql
end

---Alembic writes "-- Running upgrade a, b -> c" before the statements of c.
local function line_comment(sql, at)
    local to = (sql:find("\n", at, true) or #sql + 1) - 1
    local way, from, goal = sql:sub(at, to):match("^%-%- Running (%l+) (.-) %-> ([^%s,]*)")
    if not way then
        return nil, nil, to
    end
    return "mark", way == "downgrade" and from:match("[^%s,]+") or goal, to
end

local function dollar(sql, at)
    local tag = sql:match("^%$%$", at) or sql:match("^%$[%a_\128-\255][%w_\128-\255]*%$", at)
    if not tag then
        return "symbol", "$", at
    end
    local from, to = sql:find(tag, at + #tag, true)
    if not from then
        unterminated(sql, at, "dollar-quoted string")
    end
    return "string", sql:sub(at + #tag, from - 1), to
end

local function word(sql, at)
    local text = sql:match("^[%w_$\128-\255]+", at)
    return "word", text:lower(), at + #text - 1
end

---E'…' knows backslashes; B'…', X'…', N'…' and U&'…' do not.
local function prefixed(sql, at)
    if sql:find("^[eE]'", at) then
        return quoted(sql, at + 1, "'", "string", true)
    elseif sql:find("^[bBxXnN]'", at) then
        return quoted(sql, at + 1, "'", "string")
    elseif sql:find("^[uU]&'", at) then
        return quoted(sql, at + 2, "'", "string")
    elseif sql:find('^[uU]&"', at) then
        return quoted(sql, at + 2, '"', "quoted")
    end
    return word(sql, at)
end

local function bracketed(sql, at)
    local to = sql:find("]", at, true)
    if not to then
        unterminated(sql, at, "quoted name")
    end
    return "quoted", sql:sub(at + 1, to - 1), to
end

---@return string? kind, string? text, integer to
local function read(sql, at, is_sqlite)
    local two, one = sql:sub(at, at + 1), sql:sub(at, at)
    if two == "--" then
        return line_comment(sql, at)
    elseif two == "/*" then
        return nil, nil, (is_sqlite and flat_comment_end or comment_end)(sql, at)
    elseif one == "'" then
        return quoted(sql, at, "'", "string")
    elseif one == '"' then
        return quoted(sql, at, '"', "quoted")
    elseif is_sqlite and one == "`" then
        return quoted(sql, at, "`", "quoted")
    elseif is_sqlite and one == "[" then
        return bracketed(sql, at)
    elseif one == "$" and not is_sqlite then
        return dollar(sql, at)
    elseif one:find("[%a_\128-\255]") then
        return (is_sqlite and word or prefixed)(sql, at)
    elseif sql:find("^%.?%d", at) then
        local _, to = sql:find("^%.?%d[%w_.]*", at)
        return "number", sql:sub(at, to), to
    elseif two == "::" then
        return "symbol", two, at + 1
    end
    return "symbol", one, at
end

---@param sql string
---@param dialect string
---@return dgrun.hazards.token[]
function M.read(sql, dialect)
    if #sql > M.LIMIT then
        err.raise {
            code = "hazards.too_large", op = "hazards.judge",
            msg = ("the SQL has %d bytes; at most %d are judged"):format(#sql, M.LIMIT),
            hint = "Load data outside of migrations, or upgrade in several runs.",
        }
    end
    local tokens, at = {}, sql:find("%S")
    while at do
        local kind, text, to = read(sql, at, dialect == "sqlite")
        if kind then
            tokens[#tokens + 1] = { kind = kind, text = text, from = at, to = to }
        end
        at = sql:find("%S", to + 1)
    end
    return tokens
end

return M
