-- SQLite's SQL in a spelling that PostgreSQL's lexer reads: names in [brackets] and `backticks`
-- become "names", comments that do not nest or end become blanks, $ is a letter.
-- https://www.sqlite.org/lang_keywords.html, https://www.sqlite.org/lang_comment.html
local M = {}

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
function M.translate(text)
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

return M
