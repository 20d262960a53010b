-- The local Fly. It serves the Machines API, the release API and the logs as Fly's references
-- describe them, strictly, on a port of loopback, for dgrun itself or any other client.
local check = require "dgrun.core.check"
local log = require "host.log"
local secret = require "host.secret"
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

-- Fly's own limit is not documented.
local LARGEST_BODY = 8 * 1024 * 1024

local options = {
    dir = "string", port = "integer?", persist = "boolean?", apps = "table?", token = "string?",
    pace = "number?", rate_limit = "boolean?", latency = "number?",
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

---Starts it in this process.
---@param opts sandbox.options
---@return {url: string, port: integer, token: userdata, site: function, close: function}
function M.start(opts)
    check.options(opts, options, "sandbox.start")
    local world = world_of.open(opts)
    for _, name in ipairs(opts.apps or {}) do
        require("sandbox.apps").ensure(world, name)
    end
    local server = check(require("host.server").listen {
        port = opts.port or 0, body_limit = LARGEST_BODY,
    })
    world.url = ("http://127.0.0.1:%d"):format(server:port())
    world_of.spawn(world, "sandbox", function() serve(world, server) end)
    require("sandbox.resume").all(world)
    if world.persist then
        world_of.spawn(world, "sandbox.schedules", function()
            require("sandbox.schedules").run(world)
        end)
    end
    log.debug(("event=sandbox url=%s dir=%s\n"):format(world.url, opts.dir))
    return {
        url = world.url,
        port = server:port(),
        token = secret.new("FLY_API_TOKEN", world.token),
        site = function(url) return require("sandbox.proxy").local_url(world, url) end,
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
