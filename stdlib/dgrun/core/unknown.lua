-- A value that is only known after a write: what a planned effect returns. Reading a field of it
-- or joining text to it gives another one; a decision on it is an error.
-- It is a userdata, so that whatever looks into plain tables or encodes them refuses it.
local err = require "dgrun.core.err"

local M = {}

M.text = "(known after apply)"

local names = setmetatable({}, { __mode = "k" })

local function refuse(what)
    return function(a, b)
        err.raise {
            code = "plan.unknown",
            msg = ("'%s' cannot be %s in a plan: its value is known after apply")
                :format(names[a] or names[b] or "?", what),
            hint = "Check effect.is_unknown(value) first, or leave the decision to the run.",
        }
    end
end

local function derived(a, b)
    return M.new(names[a] or names[b])
end

-- The same functions for all, since a comparison of two values asks both for the same one.
local shared = {
    __name = "dgrun.unknown",
    __index = function(self, key) return M.new(names[self] .. "." .. tostring(key)) end,
    __tostring = function() return M.text end,
    __concat = derived, __div = derived, __add = derived, __sub = derived, __mul = derived,
    __mod = derived, __unm = derived, __pow = derived,
    __newindex = refuse("changed"), __call = refuse("called"), __len = refuse("measured"),
}
shared.__lt = refuse("compared")
shared.__le = shared.__lt

---@param name? string for messages: what will be known
---@return userdata
function M.new(name)
    local proxy = newproxy(true)
    names[proxy] = name or "value"
    local metatable = getmetatable(proxy)
    for event, handler in pairs(shared) do
        metatable[event] = handler
    end
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
