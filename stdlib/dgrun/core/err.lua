-- The one error shape: {code, msg, op, hint, cause, where, …fields}.
-- `code` is for programs ("fly.lease_held"), `msg` for people: what was tried, on what, and why
-- it failed.
local checkouts = require "dgrun.core.checkouts"
local inspect = require "dgrun.core.inspect"
local host = require "host.err"

local M = {}

local metatable = host.metatable()

---@class dgrun.err
---@field code string dotted constant
---@field msg string
---@field op? string the call that failed
---@field hint? string what to do next
---@field where? string file:line of the script that made the call
---@field cause? any the error behind this one

---@param fields table
---@return dgrun.err
function M.new(fields)
    return setmetatable(fields, metatable)
end

---Is it an error object at all?
---@return boolean
function M.is_object(e)
    return type(e) == "table" and getmetatable(e) == metatable
end

local function is_within(code, group)
    return code == group or code:sub(1, #group + 1) == group .. "."
end

---Is `e` an error with this code, or one below it: is(e, "fly") is true of "fly.lease_held".
---@return boolean
function M.is(e, code)
    return M.is_object(e) and is_within(e.code, code)
end

---The same for several codes. `e` may also be an error as the journal keeps it.
---@param e {code: string?}
---@param codes string[]
---@return boolean
function M.is_any(e, codes)
    for _, code in ipairs(e.code and codes or {}) do
        if is_within(e.code, code) then
            return true
        end
    end
    return false
end

---What people read of an error.
local texts = { "msg", "hint" }

---Raises an error object, or a table of its fields.
function M.raise(e)
    if type(e) == "table" and not M.is_object(e) then
        M.new(e)
    end
    for _, name in ipairs(type(e) == "table" and texts or {}) do
        e[name] = type(e[name]) == "string" and checkouts.readable(e[name]) or e[name]
    end
    if type(e) == "table" and not e.where then
        e.where = host.where()
    end
    error(e, 0)
end

---Any caught value as an error object.
---@return dgrun.err
function M.object(e)
    if M.is_object(e) then
        return e
    end
    return M.new { code = "lua.error", msg = inspect.text(e) }
end

return M
