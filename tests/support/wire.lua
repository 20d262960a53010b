-- A server that answers what a test says and keeps what it was asked, with dgrun's session on it.
local api = require "dgrun.fly.api"
local host_task = require "host.task"
local secret = require "host.secret"

local M = {}

---@param token string
---@param answer fun(request: table, count: integer): table|"reset" status, headers, body
---@param body fun(asked: table[])
function M.with(token, answer, body)
    local server = assert(require("host.server").listen {})
    local url = ("http://127.0.0.1:%d"):format(server:port())
    local asked = {}
    local acceptor = host_task.spawn(function()
        while true do
            local request = server:accept()
            if not request then
                return
            end
            asked[#asked + 1] = { method = request.method, path = request.path,
                headers = request.headers, body = request.body }
            local reply = answer(request, #asked)
            if reply == "reset" then
                request:abort()
            else
                request:reply { status = reply.status or 200, headers = reply.headers or {},
                    body = reply.body or "{}" }
            end
        end
    end, { daemon = true })
    api.use { token = secret.new("FLY_API_TOKEN", token), machines_url = url .. "/dropped",
        api_url = url .. "/kept", uiex_url = url, pace = 0.01 }
    local ok, e = pcall(body, asked)
    api.use {}
    server:close()
    acceptor:join()
    if not ok then
        error(e, 0)
    end
end

return M
