-- After no response: a second address shows whether the prober itself has no network.
local context = require "dgrun.run.context"

local M = {}

local SECONDS = 5

---Errors without a response: the peer may be fine.
local silent = { ["http.resolve"] = true, ["http.connect"] = true, ["http.timeout"] = true,
    ["http.reset"] = true, ["http.failed"] = true }

local function is_this_computer(host)
    return host == "localhost" or host == "::1" or host:match("^127%.%d+%.%d+%.%d+$") ~= nil
end

---@param url string
---@return string
local function host_of(url)
    local authority = (url:match("^%w+://([^/?#]*)") or ""):gsub("^.*@", "")
    return authority:match("^%[([^%]]*)%]") or authority:gsub(":%d*$", "")
end

---Why an attempt that ended with this error is inconclusive; nil when the peer is bad.
---@param e dgrun.err
---@param peer string URL or host
---@param control? string|false
---@return string?
function M.why_unknown(e, peer, control)
    if not silent[e.code] or control == false
        or not control and is_this_computer(peer:find("://", 1, true) and host_of(peer) or peer)
    then
        return nil
    end
    control = control or context.machines_url()
    local answer, silence = require("host.http").request {
        url = control, timeout = SECONDS, connect_timeout = SECONDS, limit = 1024 * 1024,
    }
    if answer or not silent[silence.code] then
        return nil
    end
    return ("no response, not even from %s: this computer has no network"):format(host_of(control))
end

return M
