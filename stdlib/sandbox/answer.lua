-- Errors of the APIs, raised by handlers and sent by the router.
local M = {}

local metatable = { __tostring = function(self) return self.body.error end }

local function raise(status, body, headers)
    error(setmetatable({ status = status, body = body, headers = headers }, metatable), 0)
end

---@param status integer
---@param text string
---@param kind? string machine readable: "insufficient_capacity", "name_taken"
function M.fail(status, text, kind)
    raise(status, { error = text, status = kind or "unknown" })
end

---The same with headers.
---@param headers table<string, string>
function M.fail_with(status, text, headers)
    raise(status, { error = text, status = "unknown" }, headers)
end

---The other shape of an error, used by the layer that knows leases.
function M.fail_message(status, text)
    raise(status, { status = "error", message = text, error = text })
end

function M.is(e)
    return getmetatable(e) == metatable
end

return M
