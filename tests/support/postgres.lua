-- A real PostgreSQL in a temporary folder, as an unprivileged user, for the length of a test.
local daemon = require "support.daemon"
local free_port = require "support.port"
local fs = require "host.fs"
local postgres = require "host.postgres"
local task = require "dgrun.core.task"
local templates = require "support.templates"
local until_true = require("support.wait").until_true

local M = {}

local function program(name)
    local versions = fs.list "/usr/lib/postgresql" or {}
    assert(#versions > 0, "PostgreSQL is not installed")
    return ("/usr/lib/postgresql/%s/bin/%s"):format(versions[#versions], name)
end

---Waits until somebody can connect.
---@param url string
function M.await(url)
    until_true(function()
        local connection = postgres.connect { url = url }
        if connection then
            connection:close()
        end
        return connection
    end, "a connection to " .. url)
end

local function initialize(dir, as_user, password)
    local argv = { program "initdb", "-D", dir / "data", "-U", "dgrun", "--no-sync",
        "--no-instructions", "--wal-segsize=1", "-A", password and "scram-sha-256" or "trust" }
    if password then
        assert(fs.write(dir / "password", password, { mode = "0644" }))
        argv[#argv + 1] = "--pwfile=" .. dir / "password"
    end
    daemon.output(as_user(argv))
end

---Makes the data folder of a new server. It belongs to the user of the server: the first one is
---made where that user may write, and becomes the template.
---@param dir string an empty folder that belongs to the user of the server
---@param as_user fun(argv: string[]): string[] a command as that user
---@param password? string
local function fill(dir, as_user, password)
    if password then
        return initialize(dir, as_user, password)
    end
    local template = templates.once("postgres", function(made)
        initialize(dir, as_user)
        daemon.output { "cp", "-aT", dir / "data", made }
    end)
    if not fs.exists(dir / "data") then
        daemon.output { "cp", "-aT", template, dir / "data" }
    end
end

---@class support.postgres
---@field url string
---@field async_url string
---@field port integer
---@field dir string of its data
---@field stop fun(signal?: string) before the end of the test; a fast shutdown by default
---@field restart fun() what was stopped; waits until somebody can connect

---@param opts? {password?: string} with one everybody needs theirs, also from this computer
---@return support.postgres # stopped at the end of the test
function M.start(opts)
    local password = opts and opts.password
    local dir = fs.real(assert(fs.temp_dir "postgres"))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    local as_user = daemon.unprivileged(dir)
    local port = free_port()
    fill(dir, as_user, password)
    local url = ("postgresql://dgrun%s@127.0.0.1:%d/postgres"):format(
        password and ":" .. password or "", port)
    local server = { url = url, async_url = url:gsub("^postgresql", "postgresql+asyncpg"),
        port = port, dir = dir / "data" }
    function server.restart()
        server.stop = daemon.start("postgres", as_user { program "postgres", "-D", server.dir,
            "-p", tostring(port), "-k", dir, "-c", "listen_addresses=127.0.0.1",
            "-c", "fsync=off" }, "SIGINT")
        M.await(url)
    end
    server.restart()
    return server
end

return M
