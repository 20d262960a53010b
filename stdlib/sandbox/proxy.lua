-- Fly's proxy: what is sent to https://APP.fly.dev reaches a machine of the app.
local clock = require "sandbox.clock"
local http = require "dgrun.http"
local input = require "sandbox.input"
local lifecycle = require "sandbox.lifecycle"
local local_site = require "dgrun.core.local_site"
local world_of = require "sandbox.world"

local M = {}

local STARTUP_SECONDS = 15

---Whose site a request is for, and the path there; nil for one to an API.
---@return string? app
---@return string path
function M.target_of(request)
    local app, rest = request.path:match("^" .. local_site.PREFIX .. "([%w-]+)(/?.*)$")
    if app then
        return app, rest == "" and "/" or rest
    end
    app = (input.headers(request.headers).host or ""):match("^([%w-]+)%.fly%.dev$")
    return app, request.path
end

function M.is_site(request)
    return M.target_of(request) ~= nil
end

local function web_machines(app)
    local found = {}
    for _, machine in pairs(app.machines) do
        if #(machine.config.services or {}) > 0 and not machine.cordoned
            and (machine.state == "started" or machine.state == "stopped") then
            found[#found + 1] = machine
        end
    end
    -- Those that are up come first, then those that the proxy may start.
    table.sort(found, function(a, b)
        if a.state ~= b.state then
            return a.state == "started"
        end
        return a.id < b.id
    end)
    return found
end

local function ready_process(world, app, machine)
    if machine.state == "stopped" then
        if not machine.config.services[1].autostart then
            return nil
        end
        lifecycle.start(world, app, machine, "flyd")
    end
    local deadline = clock.steady() + STARTUP_SECONDS
    while clock.steady() < deadline do
        local process = lifecycle.process(world, app, machine)
        if process and (process.body or #lifecycle.checks(machine) == 0
                or machine.check_status[1].status == "passing") then
            return process
        end
        world_of.wait_change(world, machine.id, 0.5)
    end
end

local function plain(request, status, text)
    request:reply { status = status, headers = { ["Content-Type"] = "text/plain" }, body = text }
end

local function pass_on(request, process, path)
    local answer, e
    local query = http.query(request.query)
    local deadline = clock.steady() + STARTUP_SECONDS
    repeat
        local address = process.address()
        answer, e = nil, { msg = process.problem() }
        if address then
            answer, e = require("host.http").request {
                url = ("http://%s%s%s"):format(address, path, query ~= "" and "?" .. query or ""),
                method = request.method, timeout = 30, connect_timeout = 2,
                body = request.body ~= "" and request.body or nil,
            }
        end
        -- The process may not listen yet; Fly's proxy waits for it too.
        local waited = answer or not clock.sleep(0.1)
    until waited or clock.steady() > deadline
    if not answer then
        return plain(request, 502, ("the app does not answer: %s\n"):format(e.msg))
    end
    request:reply {
        status = answer.status, body = answer.body,
        headers = { ["Content-Type"] = answer.headers["content-type"] },
    }
end

function M.forward(world, request)
    local name, path = M.target_of(request)
    local app = world.apps[name]
    if not app then
        return plain(request, 404, "no such app\n")
    end
    for _, machine in ipairs(web_machines(app)) do
        local process = ready_process(world, app, machine)
        if process and process.address then
            return pass_on(request, process, path)
        elseif process and process.body then
            request:reply {
                status = process.healthy and 200 or 503, body = process.body,
                headers = { ["Content-Type"] = "text/html; charset=utf-8" },
            }
            return
        end
    end
    plain(request, 503, "no machine of the app is up\n")
end

return M
