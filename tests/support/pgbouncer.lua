-- A real pgbouncer in transaction mode before a PostgreSQL, for the length of a test. Its pool has
-- one session, which all its clients take in turn.
local daemon = require "support.daemon"
local free_port = require "support.port"
local fs = require "host.fs"
local postgres = require "support.postgres"
local task = require "dgrun.core.task"

local M = {}

local config = [[
[databases]
postgres = host=127.0.0.1 port=%d user=dgrun
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
server_login_retry = 1
]]

---@param server support.postgres
---@return {url: string, stop: fun(signal?: string)} # stopped at the end of the test
function M.start(server)
    local dir = fs.real(assert(fs.temp_dir "pgbouncer"))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    local port = free_port()
    assert(fs.write(dir / "pgbouncer.ini", config:format(server.port, port)))
    local as_user = daemon.unprivileged(dir)
    -- SIGTERM waits for its clients since 1.23, which Debian 13 has.
    local stop = daemon.start("pgbouncer",
        as_user { "/usr/sbin/pgbouncer", "--quiet", dir / "pgbouncer.ini" }, "SIGQUIT")
    local url = ("postgresql://dgrun@127.0.0.1:%d/postgres"):format(port)
    postgres.await(url)
    return { url = url, stop = stop }
end

return M
