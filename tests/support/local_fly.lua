-- `dgrun sandbox` in a process of its own, and dgrun as its client in others: what people have who
-- type one command after the other.
local fs = require "host.fs"
local host_task = require "host.task"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local project = require "support.project"
local sandbox = require "support.sandbox"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true

local M = {}

M.binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local environments = [[
environments:
  stage: { app: web-stage, config: fly.toml, secrets: { sources: [env] } }
  prod: { app: web, config: fly.toml, secrets: { sources: [env] } }
]]

---@class support.local_fly
---@field dir string the project: scripts/environments.yaml with stage (web-stage) and prod (web)
---@field url string
---@field printed table<string, string> the variables that it prints, but for the token
---@field env table<string, string> of a client
local Fly = {}
Fly.__index = Fly

---A small project with the shipped scripts.
local function new_project()
    local dir = fs.real(project.make { ["scripts/environments.yaml"] = environments })
    for _, name in ipairs(fs.list "scripts") do
        if name:match "%.lua$" then
            assert(fs.copy("scripts/" .. name, dir / "scripts" / name))
        end
    end
    return dir
end

---@param dir? string a project that exists, else a small one is made
---@return support.local_fly
function M.start(dir)
    local fly = setmetatable({ dir = dir or new_project(), printed = {} }, Fly)
    local child = assert(proc.spawn { argv = { M.binary, "sandbox" }, cwd = fly.dir })
    local reader = host_task.spawn(function()
        for line in function() return child:read() end do
            local name, value = line.line:match "^export (FLY_[A-Z_]+)=(%S+)$"
            fly.printed[name or ""] = value
            fly.ready = fly.ready or line.line:find "FLY_ACCESS_TOKEN" ~= nil
        end
        child:wait()
    end, { name = "sandbox", daemon = true })
    task.defer(function()
        child:kill "SIGTERM"
        reader:join()
    end)
    until_true(function() return fly.ready end)
    fly.url = fly.printed.FLY_FLAPS_BASE_URL
    fly.token = assert(fs.read(fly.dir / ".dgrun/sandbox/token"))
    fly.env = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8",
        TMPDIR = os.getenv "TMPDIR", DGRUN_STDLIB = os.getenv "DGRUN_STDLIB",
        ASAN_OPTIONS = os.getenv "ASAN_OPTIONS", LSAN_OPTIONS = os.getenv "LSAN_OPTIONS",
        FLY_API_TOKEN = fly.token, FLY_FLAPS_BASE_URL = fly.url, FLY_API_BASE_URL = fly.url,
        FLY_UIEX_BASE_URL = fly.url }
    return fly
end

---Runs dgrun as a client.
---@param argv string[]
---@return {status: integer, stdout: string, stderr: string, all: string}
function Fly:run(argv, opts)
    local result = assert(proc.run { argv = { M.binary, unpack(argv) }, cwd = self.dir,
        clean_env = true, env = self.env, timeout = 60, stdin = opts and opts.stdin })
    result.all = result.stdout .. result.stderr
    return result
end

---What a command prints with --json.
function Fly:json(argv)
    local result = self:run(argv)
    assert(result.status == 0, table.concat(argv, " ") .. ": " .. result.all)
    return json.decode(result.stdout)
end

---@return host.proc.child
function Fly:spawn(argv)
    return assert(proc.spawn { argv = { M.binary, unpack(argv) }, cwd = self.dir,
        clean_env = true, env = self.env })
end

---@return integer status
---@return any body
function Fly:call(method, path, value)
    local answer = assert(require("host.http").request { url = self.url .. path, method = method,
        body = value and json.encode(value),
        headers = { Authorization = "Bearer " .. self.token } })
    return answer.status, answer.body ~= "" and json.decode(answer.body) or {}
end

local function good(status, body)
    assert(status >= 200 and status < 300, body.error)
    return body
end

---@param digest? string that of an image which shall behave in another way now
function Fly:register(ref, behaviour, digest)
    return good(self:call("POST", "/sandbox/v1/images",
        { ref = ref, behaviour = behaviour, digest = digest }))
end

---A machine that serves.
---@param app string
---@param image string
---@param more? table of the body of the call
function Fly:web(app, image, more)
    local body = { config = { image = image, metadata = { fly_platform_version = "v2",
        fly_process_group = "app" } } }
    for name, value in pairs(sandbox.web_config) do
        body.config[name] = value
    end
    for name, value in pairs(more or {}) do
        body[name] = value
    end
    return good(self:call("POST", ("/v1/apps/%s/machines"):format(app), body))
end

function Fly:machine(app, id)
    return good(self:call("GET", ("/v1/apps/%s/machines/%s"):format(app, id)))
end

function Fly:wait(app, id, state)
    return good(self:call("GET", ("/v1/apps/%s/machines/%s/wait?state=%s&timeout=30"):format(app,
        id, state)))
end

function Fly:fault(value)
    return good(self:call("POST", "/sandbox/v1/faults", value))
end

return M
