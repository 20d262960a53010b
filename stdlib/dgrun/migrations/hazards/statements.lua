-- An SQL text as statements, by PostgreSQL's own lexer, each with its line and the revision that
-- Alembic names above it. A statement need not parse.
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local sql = require "host.sql"

local M = {}

M.LIMIT = 2 * 1024 * 1024

local SHOWN = 240

---So often the lexer may refuse a piece of a text; what follows is one piece.
local MAX_REFUSALS = 50

-- SQLite's SQL in a spelling that PostgreSQL's lexer reads: names in [brackets] and `backticks`
-- become "names", comments that do not nest or end become blanks, $ is a letter.
-- https://www.sqlite.org/lang_keywords.html, https://www.sqlite.org/lang_comment.html

---The end of what `quote` opens at `at`; a doubled quote stands for itself. Without an end: the
---rest, which the lexer then reports.
local function closing(text, at, quote)
    local i = at + 1
    while true do
        local found = text:find(quote, i, true)
        if not found then
            return #text
        elseif text:sub(found + 1, found + 1) ~= quote then
            return found
        end
        i = found + 2
    end
end

local function as_name(inside)
    return '"' .. inside:gsub('"', '""') .. '"'
end

local read = {}

---Strings know no backslash, whatever letter stands before them: a blank keeps E'…' apart.
read["'"] = function(text, at)
    local to = closing(text, at, "'")
    local before = text:sub(at - 1, at - 1)
    return (before:find("[eEuUnN&]") and " " or "") .. text:sub(at, to), to
end

read['"'] = function(text, at)
    local to = closing(text, at, '"')
    return text:sub(at, to), to
end

read["`"] = function(text, at)
    local to = closing(text, at, "`")
    return as_name((text:sub(at + 1, to - 1):gsub("``", "`"))), to
end

read["["] = function(text, at)
    local to = text:find("]", at, true) or #text
    return as_name(text:sub(at + 1, to - 1)), to
end

read["-"] = function(text, at)
    if text:sub(at + 1, at + 1) ~= "-" then
        return "-", at
    end
    local to = (text:find("\n", at, true) or #text + 1) - 1
    return text:sub(at, to), to
end

read["/"] = function(text, at)
    if text:sub(at + 1, at + 1) ~= "*" then
        return "/", at
    end
    local _, to = text:find("*/", at + 2, true)
    to = to or #text
    -- Lines keep their numbers.
    return (text:sub(at, to):gsub("[^\n]", " ")), to
end

read["$"] = function(_, at)
    return "_", at
end

---@param text string
---@return string
local function in_postgres_spelling(text)
    local parts, from = {}, 1
    local at = text:find("['\"`%[%-/$]")
    while at do
        local part, to = read[text:sub(at, at)](text, at)
        parts[#parts + 1] = text:sub(from, at - 1)
        parts[#parts + 1] = part
        from = to + 1
        at = text:find("['\"`%[%-/$]", from)
    end
    parts[#parts + 1] = text:sub(from)
    return table.concat(parts)
end

---@class dgrun.hazards.statement
---@field sql? string nil for source that could not be read
---@field text string on one line, cut when long
---@field line integer
---@field revision? string
---@field file? string where the line is
---@field types? table<string, string> of columns before it
---@field reason? string why it could not be read
---@field words? string those words of it that are known

---A piece of a revision: SQL, or what could not be read as SQL.
---@class dgrun.hazards.part
---@field sql? string
---@field unread? string source text of what could not be read
---@field reason? string why
---@field words? string those words of it that are known
---@field revision? string
---@field file? string where it stands
---@field line? integer where it begins there, 1
---@field lined? boolean each line of the SQL is a line of the file
---@field types? table<string, string> of columns before it, as the file has them: "users.name"

---A function that gives the line of a place; places must rise.
local function lines_of(text)
    local line, seen = 1, 1
    return function(at)
        local _, count = text:sub(seen, at - 1):gsub("\n", "")
        line, seen = line + count, math.max(at, seen)
        return line
    end
end

---Alembic writes "-- Running upgrade a, b -> c" before the statements of c.
local function revision_of(comment)
    local way, from, goal = comment:match("^%-%- Running (%l+) (.-) %-> ([^%s,]*)")
    return way == "downgrade" and from:match("[^%s,]+") or goal
end

local function unterminated(text, at, e)
    local _, newlines = text:sub(1, at - 1):gsub("\n", "")
    local what = e.msg:match("^unterminated (.-) at or near") or "token"
    err.raise {
        code = "hazards.unterminated", op = "hazards.judge", line = newlines + 1,
        msg = ("the %s that begins in line %d of the SQL is not closed"):format(
            what:gsub("^/%* ", ""), newlines + 1),
    }
end

---The items of the text, from place to place where the lexer refuses a piece.
local function items_of(text, is_sqlite)
    local items, from, refusals = {}, 1, 0
    local function add(part)
        for _, item in ipairs(part) do
            item.from, item.to = item.from + from - 1, item.to + from - 1
            items[#items + 1] = item
        end
    end
    while from <= #text do
        local part, e = sql.split(text:sub(from), { sqlite = is_sqlite })
        if part then
            add(part)
            return items
        elseif e.code == "sql.unterminated" then
            unterminated(text, from + e.at - 1, e)
        end
        refusals = refusals + 1
        -- The statements before it; the last of them runs into the piece.
        local refused = from + e.at - 1
        local before = sql.split(text:sub(from, refused - 1), { sqlite = is_sqlite }) or {}
        local last = before[#before]
        local starts = refused
        if last and not last.comment and not text:sub(last.from + from - 1, refused - 1)
            :find(";%s*$") then
            starts = last.from + from - 1
            before[#before] = nil
        end
        add(before)
        local to = refusals < MAX_REFUSALS and text:find(";", refused, true) or #text + 1
        items[#items + 1] = { from = starts, to = to - 1 }
        from = to + 1
    end
    return items
end

---@param text string
---@param dialect string
---@return dgrun.hazards.statement[]
function M.split(text, dialect)
    if #text > M.LIMIT then
        err.raise {
            code = "hazards.too_large", op = "hazards.judge",
            msg = ("the SQL has %d bytes; dgrun judges at most %d"):format(#text, M.LIMIT),
            hint = "Load data outside of migrations, or upgrade in several runs.",
        }
    end
    local is_sqlite = dialect == "sqlite"
    text = is_sqlite and in_postgres_spelling(text) or text
    local found, revision, line_of = {}, nil, lines_of(text)
    for _, item in ipairs(items_of(text, is_sqlite)) do
        local part = text:sub(item.from, item.to)
        if item.comment then
            revision = revision_of(part) or revision
        else
            found[#found + 1] = { sql = part, line = line_of(item.from), revision = revision,
                text = format.excerpt(part, SHOWN) }
        end
    end
    return found
end

local function not_read(part, text, reason, words)
    return { text = format.excerpt(text, SHOWN), line = part.line, file = part.file,
        revision = part.revision, reason = reason, words = words }
end

---The statements of a piece, each with its place.
---@param part dgrun.hazards.part
---@param dialect string
---@return dgrun.hazards.statement[]
function M.of_part(part, dialect)
    if part.unread then
        return { not_read(part, part.unread, part.reason, part.words) }
    end
    local ok, found = pcall(M.split, part.sql, dialect)
    if not ok and err.is(found, "hazards.unterminated") then
        return { not_read(part, part.sql, found.msg, part.sql) }
    elseif not ok then
        error(found, 0)
    end
    for _, statement in ipairs(found) do
        statement.revision = part.revision or statement.revision
        statement.file, statement.types = part.file, part.types
        if part.line then
            statement.line = part.line + (part.lined and statement.line - 1 or 0)
        end
    end
    return found
end

return M
