-- A real image registry on loopback, with a password, for the length of a test.
local free_port = require "support.port"
local fs = require "host.fs"
local host_task = require "host.task"
local http = require "host.http"
local proc = require "host.proc"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true

local M = {}

local configuration = [[
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: "%s"}}
http: {addr: "127.0.0.1:%d"}
auth: {htpasswd: {realm: test, path: "%s"}}
]]

local function is_up(port)
    local answer = http.request { url = ("http://127.0.0.1:%d/v2/"):format(port), timeout = 2 }
    return answer ~= nil and answer.status == 401
end

---@param token string the password of the user x
---@return {address: string, manifest: fun(name: string, tag: string): table} # ends with the test
function M.start(token)
    local dir = fs.real(assert(fs.temp_dir "registry"))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    local made = assert(proc.run { argv = { "htpasswd", "-niB", "x" }, stdin = token })
    assert(made.status == 0, made.stderr)
    assert(fs.write(dir / "htpasswd", made.stdout))
    local port = free_port()
    assert(fs.write(dir / "config.yml",
        configuration:format(dir / "data", port, dir / "htpasswd")))
    local server = assert(proc.spawn { argv = { "docker-registry", "serve", dir / "config.yml" } })
    -- Not a child of the test: those are awaited before its cleanup runs.
    local reader = host_task.spawn(function()
        while server:read() do end
    end, { daemon = true })
    task.defer(function()
        server:stop()
        reader:join()
    end)
    until_true(function() return is_up(port) end, "the registry answers")
    return {
        address = ("127.0.0.1:%d"):format(port),
        manifest = function(name, tag)
            local answer = assert(http.request {
                url = ("http://127.0.0.1:%d/v2/%s/manifests/%s"):format(port, name, tag),
                headers = { Accept = "application/vnd.docker.distribution.manifest.v2+json",
                    Authorization = "Basic "
                        .. require("host.digest").base64("x:" .. token) },
            })
            return answer
        end,
    }
end

return M
