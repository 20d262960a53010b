-- From Lua to columns: all text is redacted before it is bound, so that no secret enters the store.
local json = require "dgrun.core.json"
local secret = require "host.secret"
local snapshot = require "dgrun.core.snapshot"
local tables = require "dgrun.core.table"

local M = {}

---@param text string
---@return string
function M.redacted(text)
    return (secret.redact(text))
end

---Any value as redacted JSON; nil stays nil.
---@param value any
---@return string?
function M.data(value)
    if value == nil then
        return nil
    end
    return M.redacted(json.masked(
        snapshot.lenient(value)))
end

---@param e? dgrun.err
---@return string?
function M.error_data(e)
    return e and M.data { code = e.code, msg = e.msg, hint = e.hint, where = e.where,
        step = e.step }
end

-- What dgrun itself made up, and finds rows by: a short secret may look like a part of it.
local own_words = { id = true, run = true, status = true, state = true, superseded_by = true,
    machine = true, process = true, commit_id = true }

---Names and values of a row, sorted; what is absent is left out: it is NULL.
local function columns(row)
    local names, values = tables.keys(row), {}
    for i, name in ipairs(names) do
        local value = row[name]
        values[i] = type(value) == "string" and not own_words[name] and M.redacted(value) or value
    end
    return names, values
end

local function numbered(values)
    local casts = {}
    for i, value in ipairs(values) do
        casts[i] = type(value) == "number"
            and (value % 1 == 0 and "CAST(? AS BIGINT)" or "CAST(? AS DOUBLE PRECISION)")
            or "CAST(? AS TEXT)"
    end
    return casts
end

---@param store dgrun.store
---@param into string "@runs"
---@param row table<string, any>
---@param clauses? {where?: string, values?: any[], tail?: string, clock?: any[][]}
---  `where`: only if that holds; `clock`: columns that are so many seconds after the store's now
---@return table[] # what `tail` returns
function M.insert(store, into, row, clauses)
    clauses = clauses or {}
    local names, values = columns(row)
    local terms = numbered(values)
    for _, column in ipairs(clauses.clock or {}) do
        names[#names + 1], values[#values + 1] = column[1], column[2]
        terms[#terms + 1] = "@now + CAST(? AS DOUBLE PRECISION)"
    end
    local source = clauses.where and ("SELECT %s WHERE %s") or "VALUES (%s)"
    local sql = ("INSERT INTO %s (%s) %s %s"):format(into, table.concat(names, ", "),
        source:format(table.concat(terms, ", "), clauses.where), clauses.tail or "")
    for _, value in ipairs(clauses.values or {}) do
        values[#values + 1] = value
    end
    return store:query(sql, values)
end

---@param store dgrun.store
---@param what string "@runs"
---@param row table<string, any>
---@param where string
---@param keys any[] for `where`
---@return table[] # what a RETURNING in `where` returns
function M.update(store, what, row, where, keys)
    local names, values = columns(row)
    for _, key in ipairs(keys) do
        values[#values + 1] = key
    end
    return store:query(("UPDATE %s SET %s = ? WHERE %s"):format(what,
        table.concat(names, " = ?, "), where), values)
end

return M
