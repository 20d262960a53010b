-- A real PostgreSQL in a temporary folder, as an unprivileged user, for the length of a test.
local free_port = require "support.port"
local fs = require "host.fs"
local host_task = require "host.task"
local proc = require "host.proc"
local task = require "dgrun.task"

local M = {}

local function program(name)
    local versions = fs.list "/usr/lib/postgresql" or {}
    assert(#versions > 0, "PostgreSQL is not installed")
    return ("/usr/lib/postgresql/%s/bin/%s"):format(versions[#versions], name)
end

local function output(argv)
    local r = assert(proc.run { argv = argv })
    assert(r.status == 0, r.stderr)
    return (r.stdout:gsub("%s+$", ""))
end

---PostgreSQL refuses to run as root.
local function unprivileged(dir)
    if output { "id", "-u" } ~= "0" then
        return {}
    end
    output { "chown", "-R", "nobody", dir }
    return { "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups" }
end

local function with(prefix, argv)
    local all = { unpack(prefix) }
    for _, word in ipairs(argv) do
        all[#all + 1] = word
    end
    return all
end

---@return {url: string, async_url: string, port: integer} # stopped at the end of the test
function M.start()
    local dir = fs.real(assert(fs.temp_dir "postgres"))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    local prefix = unprivileged(dir)
    local port = free_port()
    output(with(prefix, { program "initdb", "-D", dir / "data", "-U", "dgrun", "-A", "trust",
        "--no-sync", "--no-instructions" }))
    local server = assert(proc.spawn {
        argv = with(prefix, { program "postgres", "-D", dir / "data", "-p", tostring(port),
            "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off" }),
        cwd = "/",
    })
    -- Not a child of the test: those are awaited before its cleanup runs.
    local reader = host_task.spawn(function()
        while server:read() do end
    end, { name = "postgres", daemon = true })
    task.defer(function()
        server:kill "SIGINT" -- fast shutdown
        reader:join()
        server:wait()
    end)
    local url = ("postgresql://dgrun@127.0.0.1:%d/postgres"):format(port)
    task.timeout(60, function()
        while true do
            local connection = require("host.postgres").connect { url = url }
            if connection then
                return connection:close()
            end
            task.sleep(0.05)
        end
    end)
    return { url = url, async_url = url:gsub("^postgresql", "postgresql+asyncpg"), port = port }
end

return M
