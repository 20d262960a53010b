-- One attempt of a TCP probe: whether something listens there.
local control = require "dgrun.probe.control"
local err = require "dgrun.core.err"
local http = require "dgrun.http"

local M = {}

M.name = "tcp"
M.options = { host = "string", port = "integer", timeout = "seconds?", control = "any?" }
M.hint = "Look at the app's logs, then run again or roll back."

local DEFAULT_SECONDS = 5

---The address to connect to: in the sandbox, the address that stands in for the host.
local function really_at(host, port)
    local url = "https://" .. host
    local routed = http.route(url)
    local to_host, to_port = routed:match("^http://([^/:]+):(%d+)")
    if routed == url or not to_host then
        return host, port
    end
    return to_host, tonumber(to_port)
end

---@param opts dgrun.probe.tcp
---@return dgrun.probe.one
function M.prepare(opts)
    if opts.control ~= nil and opts.control ~= false and type(opts.control) ~= "string" then
        err.raise { code = "input.invalid", op = "probe.tcp",
            msg = "probe.tcp: control must be a URL or false" }
    end
    local function try()
        local host, port = really_at(opts.host, opts.port)
        local there, e = require("host.http").connect {
            host = host, port = port, timeout = opts.timeout or DEFAULT_SECONDS,
        }
        if there then
            return { outcome = "good", why = "accepts connections",
                result = { address = there.address } }
        elseif err.is(e, "cancelled") then
            err.raise(e)
        end
        local unknown = control.why_unknown(e, opts.host, opts.control)
        return { outcome = unknown and "unknown" or "bad", why = unknown or e.reason or e.msg }
    end
    return { what = ("%s port %d"):format(opts.host, opts.port), try = try }
end

return M
