-- A value that is only known after a write: what a planned effect returns. Reading a field of it
-- or joining text to it gives another one; a decision on it is an error.
-- It is a userdata, so that whatever looks into plain tables or encodes them refuses it.
local err = require "dgrun.err"

local M = {}

M.text = "(known after apply)"

local names = setmetatable({}, { __mode = "k" })

local function refuse(what)
    return function(a, b)
        err.raise {
            code = "plan.unknown",
            msg = ("'%s' cannot be %s in a plan: it is known after apply")
                :format(names[a] or names[b] or "?", what),
            hint = "Ask effect.is_unknown(value) first, or leave the decision to the run.",
        }
    end
end

---@param name? string for messages: what will be known
---@return userdata
function M.new(name)
    local proxy = newproxy(true)
    names[proxy] = name or "value"
    local derived = function(a, b) return M.new(names[a] or names[b]) end
    local meta = getmetatable(proxy)
    meta.__name = "dgrun.unknown"
    meta.__index = function(_, key) return M.new(names[proxy] .. "." .. tostring(key)) end
    meta.__tostring = function() return M.text end
    meta.__concat, meta.__div = derived, derived
    meta.__add, meta.__sub, meta.__mul, meta.__mod = derived, derived, derived, derived
    meta.__unm, meta.__pow = derived, derived
    meta.__newindex = refuse("changed")
    meta.__call = refuse("called")
    meta.__lt, meta.__le = refuse("compared"), refuse("compared")
    meta.__len = refuse("measured")
    return proxy
end

---@return boolean
function M.is(value)
    return type(value) == "userdata" and names[value] ~= nil
end

---@return string? # what the value is called
function M.name(value)
    return type(value) == "userdata" and names[value] or nil
end

return M
