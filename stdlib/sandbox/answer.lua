-- Errors of the APIs, raised by handlers and sent by the router.
local M = {}

local metatable = { __tostring = function(self) return self.body.error end }

---@param status integer
---@param text string
---@param kind? string machine readable: "insufficient_capacity", "name_taken"
function M.fail(status, text, kind)
    error(setmetatable({ status = status, body = { error = text, status = kind or "unknown" } },
        metatable), 0)
end

---The other shape of an error, used by the layer that knows leases.
function M.fail_message(status, text)
    error(setmetatable({ status = status, body = { status = "error", message = text,
        error = text } }, metatable), 0)
end

function M.is(e)
    return getmetatable(e) == metatable
end

return M
