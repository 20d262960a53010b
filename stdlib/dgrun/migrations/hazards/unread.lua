-- A statement that PostgreSQL's parser does not read: its words are all that is known.
local sql = require "host.sql"

local M = {}

---Does a word stand in it that may lose something?
---@param text string
---@return boolean
function M.may_lose(text)
    text = text:lower()
    for _, word in ipairs { "drop", "truncate", "rename", "delete" } do
        if text:find("%f[%w_]" .. word .. "%f[^%w_]") then
            return true
        end
    end
    return false
end

-- First words of statements of SQLite that PostgreSQL lacks, or has in another form. None of them
-- loses anything.
local harmless = {}
for word in ("pragma insert replace analyze attach detach begin commit end savepoint release "
    .. "vacuum reindex values explain"):gmatch("%S+") do
    harmless[word] = true
end

---The words of a statement, unquoted; those without quotes in lower case.
local function words_of(text)
    local words = {}
    for i, word in ipairs(sql.words(text) or {}) do
        local found = text:sub(word.from, word.to)
        words[i] = found:sub(1, 1) == '"' and found:sub(2, -2):gsub('""', '"') or found:lower()
    end
    return words
end

local skipped = { temp = true, temporary = true, unique = true, virtual = true, ["if"] = true,
    ["not"] = true, exists = true }

---CREATE in SQLite: types may be missing, AUTOINCREMENT stand behind a key, a trigger have a body.
local function sqlite_create(add, words)
    local at = 2
    local function skip()
        while skipped[words[at] or ""] do
            at = at + 1
        end
    end
    skip()
    local what = words[at]
    at = at + 1
    skip()
    local name = words[at + 1] == "." and words[at + 2] or words[at]
    if what == "table" then
        add("create_table", { table = name or "?" })
    elseif what then
        add("create_object", { what = what, object = name or "?" })
    end
end

---@param add fun(kind: string, fields: table)
---@param text string
---@param dialect string
---@param reason string what the parser says
function M.read(add, text, dialect, reason)
    local words = dialect == "sqlite" and words_of(text) or {}
    if words[1] == "create" then
        return sqlite_create(add, words)
    elseif not harmless[words[1] or ""] then
        add("not_understood", { loses = M.may_lose(text), reason = reason })
    end
end

return M
