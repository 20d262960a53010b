-- The local Fly. It serves the Machines API, the release API and the logs as Fly's references
-- describe them, strictly, on a port of loopback, for dgrun itself or any other client.
local address = require "sandbox.address"
local build = require "sandbox.build"
local check = require "dgrun.core.check"
local lifetime = require "sandbox.lifetime"
local local_site = require "dgrun.core.local_site"
local log = require "host.log"
local proc = require "host.proc"
local secret = require "host.secret"
local time = require "host.time"
local world_of = require "sandbox.world"

local M = {}

---@class sandbox.options
---@field dir string folder of its state
---@field port? integer 0, the default, takes a free one
---@field persist? boolean false keeps everything in memory: a plan changes no file
---@field apps? string[] created when they do not exist
---@field token? string what clients must send; made up when absent
---@field pace? number seconds of one transition of a machine, 0.15
---@field rate_limit? boolean answers 429 to calls that come too fast, as Fly does
---@field latency? number seconds before each answer
---@field serve? "background"|"foreground" a process of its own: machines that ran are started and
---  their first checks awaited, then others can find it

-- Fly's own limit is not documented.
local LARGEST_BODY = 8 * 1024 * 1024

local options = {
    dir = "string", port = "integer?", persist = "boolean?", apps = "table?", token = "string?",
    pace = "number?", rate_limit = "boolean?", latency = "number?", serve = "string?",
}

local function serve(world, server)
    local router = require "sandbox.router"
    while true do
        local request, e = server:accept()
        if not request then
            return e
        end
        world_of.spawn(world, "sandbox.request", function() router.handle(world, request) end)
    end
end

---@param port? integer
---@param former? integer that of the process before it, whose clients may still be there
local function listen(port, former)
    local server = require "host.server"
    local again = not port and former
        and server.listen { port = former, body_limit = LARGEST_BODY }
    return again or check(server.listen { port = port or 0, body_limit = LARGEST_BODY })
end

---Lets other processes find it.
local function announce(world, server, serve_as)
    address.write(world.dir, {
        url = world.url, port = server:port(), pid = proc.self().pid, started = time.wall(),
        build = build.id(), background = serve_as == "background",
    })
    world.announced = true
end

---Starts it in this process.
---@param opts sandbox.options
---@return {url: string, port: integer, token: userdata, site: function, close: function,
---wait: fun(idle_seconds?: number): string}
function M.start(opts)
    check.options(opts, options, "sandbox.start")
    local world = world_of.open(opts)
    world.wake = opts.serve ~= nil
    for _, name in ipairs(opts.apps or {}) do
        require("sandbox.apps").ensure(world, name)
    end
    local server = listen(opts.port, opts.serve and world.former and world.former.port)
    world.url = ("http://127.0.0.1:%d"):format(server:port())
    -- Requests that come meanwhile wait.
    require("sandbox.resume").all(world)
    world_of.spawn(world, "sandbox", function() serve(world, server) end)
    if world.persist then
        world_of.spawn(world, "sandbox.schedules", function()
            require("sandbox.schedules").run(world)
        end)
    end
    if opts.serve then
        announce(world, server, opts.serve)
    end
    log.debug(("event=sandbox url=%s dir=%s\n"):format(world.url, opts.dir))
    return {
        url = world.url,
        port = server:port(),
        token = secret.new("FLY_API_TOKEN", world.token),
        site = function(url) return local_site.url(world.url, url) end,
        ---Waits for the reason to end it.
        wait = function(idle_seconds) return lifetime.wait(world, idle_seconds) end,
        close = function()
            world.closing = true
            server:close()
            require("sandbox.lifecycle").stop_processes(world)
            world_of.stop_tasks(world)
            if world.lock then
                world.lock:release()
                world.lock = nil
            end
        end,
    }
end

return M
