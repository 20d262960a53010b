-- Runs dgrun where everything it lets out is seen: its output, the files it leaves, what it sends
-- to Fly, the command lines and environments of its children. Nothing of that may hold a canary.
local canaries = require "support.canaries"
local fs = require "host.fs"
local host_task = require "host.task"
local sample = require "support.sample"
local sandbox = require "sandbox"
local task = require "dgrun.core.task"

local M = {}

local ROOT = fs.cwd()
local APPS = { "draft-app", "draft-app-prod" }

---What the application's own settings need: its migrations load them. Never the token.
local settings = { "password", "SECRET_KEY", "GEMINI_", "S3_" }

---Programs that dgrun finds in PATH, and which canaries their environment may hold. Others are not
---there.
local programs = {
    git = {}, sh = {}, sleep = {}, ["true"] = {}, cat = {},
    alembic = settings, python3 = settings, printenv = { "password" },
}

---May the environment of a program hold a canary?
local function may_know(program, canary)
    for _, name in ipairs(programs[program] or {}) do
        if canary:find(name, 1, true) then
            return true
        end
    end
    return false
end

---Stands where the local Fly would be started or found: that of the test is used, which keeps a
---record. Who asks for it waits less for a machine to prove itself.
local STUB = [[
require("dgrun.fly.health").smoke_seconds = 0.5
local url = os.getenv "WITNESS_FLY"
return { start = function()
    return {
        url = url, port = 0, token = require("host.secret").from_env "FLY_API_TOKEN",
        site = function(address)
            local app, rest = address:match "^https?://([%w-]+)%.fly%.dev(.*)$"
            return app and ("%s/sandbox/site/%s%s"):format(url, app, rest == "" and "/" or rest)
                or address
        end,
        close = function() end,
    }
end }
]]

---Writes down how it was called, then is the program.
local SHIM = [[
#!/bin/sh
{ /bin/cat /proc/$$/cmdline; echo; echo; /bin/cat /proc/$$/environ; } >"%s/%s.$$"
PATH=%s
export PATH
exec %s "$@"
]]

---@class support.leak_harness
---@field project support.project
---@field complaints string[]
---@field fly table the local Fly
---@field trusted? string a call with this in its arguments or environment may get any secret
---@field echo? string it answers secrets with this error; "all": with all that was sent
local Witness = {}
Witness.__index = Witness

local function temp(name)
    local dir = fs.real(assert(fs.temp_dir(name)))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    return dir
end

local function on_path(name)
    for folder in os.getenv("PATH"):gmatch "[^:]+" do
        if fs.exists(folder / name) then
            return folder / name
        end
    end
    error(name .. " is not installed")
end

local function executable(path, text)
    assert(fs.write(path, text, { mode = "0755" }))
end

function Witness:make_programs()
    self.calls, self.path = temp "calls", temp "programs"
    -- dgrun takes the interpreter of alembic from its first line.
    local alembic = assert(fs.read(on_path "alembic"))
    for name in pairs(programs) do
        local path = name == "python3" and alembic:match "^#!%s*(%S+)" or on_path(name)
        executable(self.path / name, SHIM:format(self.calls, name, os.getenv "PATH", path))
    end
    executable(self.path / "alembic", (alembic:gsub("^#![^\n]*", "#!" .. self.path .. "/python3")))
end

local function overlay()
    local dir = temp "overlay"
    assert(fs.mkdir(dir / "stdlib/sandbox"))
    assert(fs.symlink(ROOT / "stdlib/dgrun", dir / "stdlib/dgrun"))
    assert(fs.symlink(ROOT / "scripts", dir / "scripts"))
    assert(fs.write(dir / "stdlib/sandbox/init.lua", STUB))
    assert(fs.write(dir / "stdlib/sandbox/background.lua",
        'return { find = require("sandbox").start }\n'))
    return dir / "stdlib"
end

---What was sent, but for the header that carries the token.
local function text_of(request)
    local headers = {}
    for name, value in pairs(request.headers) do
        headers[name] = name:lower() ~= "authorization" and value or nil
    end
    local json = require "dgrun.core.json"
    return ("%s %s\n%s\n%s\n%s"):format(request.method, request.path, json.encode(request.query),
        json.encode(headers), request.body), json.encode(headers)
end

---The calls that bring secrets to Fly may hold them; never the token.
local function may_hold(request)
    return request.method == "POST" and request.path:match "/v1/apps/[%w-]+/secrets"
end

function Witness:record(request)
    self.requests = self.requests + 1
    local brings = may_hold(request)
    self.brought = self.brought or brings and request.body:find(
        canaries.values.S3_ACCESS_KEY_ID, 1, true) ~= nil
    canaries.search(text_of(request), request.method .. " " .. request.path, self.complaints,
        brings and function(name) return name:find "token" ~= nil end or nil)
end

function Witness:start_fly()
    local router = require "sandbox.router"
    local handle = router.handle
    self.requests, self.fly_dir = 0, temp "fly"
    function router.handle(world, request)
        self:record(request)
        if self.echo and may_hold(request) then
            return request:reply { status = 422, body = self.echo ~= "all" and self.echo
                or ("echo of all: %s %s"):format(request.body,
                    require("dgrun.core.json").encode(request.headers)) }
        end
        return handle(world, request)
    end
    self.fly = sandbox.start { dir = self.fly_dir, apps = APPS, pace = 0.01, persist = true,
        token = canaries.token }
    task.defer(function()
        router.handle = handle
        self.fly.close()
    end)
end

---A PostgreSQL that really asks for the password.
function M.database()
    local server = require("support.postgres").start()
    local connection = assert(require("host.postgres").connect { url = server.url })
    assert(connection:query(("CREATE ROLE app SUPERUSER LOGIN PASSWORD '%s'"):format(
        canaries.password)))
    local rules = server.dir / "pg_hba.conf"
    assert(fs.write(rules, "host all app,nobody all scram-sha-256\n" .. assert(fs.read(rules)),
        { atomic = false }))
    assert(connection:query "SELECT pg_reload_conf()")
    connection:close()
    return server
end

---@param opts {port: integer} of the PostgreSQL
---@return support.leak_harness
function M.new(opts)
    local self = setmetatable({ project = sample.new(), complaints = {}, home = temp "home",
        tmp = temp "tmp", stdlib = overlay(), seen = {} }, Witness)
    self:make_programs()
    self:start_fly()
    local env = { PATH = self.path, HOME = self.home, TMPDIR = self.tmp,
        WITNESS_FLY = self.fly.url, FLY_API_TOKEN = canaries.token,
        DATABASE_URL = canaries.url(opts.port, "+asyncpg"), DGRUN_STDLIB = self.stdlib }
    for name, value in pairs(canaries.values) do
        env[name] = value
    end
    self.env = env
    -- One of them comes from a file.
    for _, name in ipairs { "stage", "prod" } do
        self.project:write(".env." .. name, ("export GEMINI_API_KEY=\"%s\"\n"):format(
            (env.GEMINI_API_KEY:gsub("\n", "\\n"))))
    end
    env.GEMINI_API_KEY = nil
    return self
end

---The processes that run already: none of them is started by what is run now.
local function other_processes()
    local found = {}
    for _, pid in ipairs(fs.list "/proc") do
        found[pid] = true
    end
    return found
end

---Command lines and temporary files while something runs; each text is looked at once.
function Witness:look()
    for _, pid in ipairs(fs.list "/proc") do
        local is_new = pid:match "^%d+$" and not self.others[pid]
        local text = is_new and fs.read("/proc/" .. pid .. "/cmdline", { limit = 2 ^ 20 })
        if text and not self.seen[text] then
            self.seen[text] = true
            local comm = (fs.read("/proc/" .. pid .. "/comm") or "?"):gsub("%s+$", "")
            canaries.search(text, "a command line of " .. comm, self.complaints)
        end
    end
    canaries.search_files(self.tmp, self.complaints, function(path)
        local stat = fs.stat(path)
        local key = stat and ("%s %s %s"):format(path, stat.mtime, stat.size)
        local known = not stat or stat.type == "file" and self.seen[key]
        self.seen[key or ""] = true
        return known
    end)
end

---@param argv string[]
---@param opts? {env?: table, stdin?: string, timeout?: number}
---@return {status: integer, stdout: string, stderr: string, all: string}
function Witness:run(argv, opts)
    local env = {}
    for _, list in ipairs { self.env, opts and opts.env or {} } do
        for name, value in pairs(list) do
            env[name] = value
        end
    end
    self.others = other_processes()
    local watcher = host_task.spawn(function()
        while true do
            self:look()
            task.sleep(0.03)
        end
    end, { name = "watcher", daemon = true })
    local result = self.project:run(argv, { env = env, stdin = opts and opts.stdin,
        timeout = opts and opts.timeout or 60 })
    watcher:cancel()
    watcher:join()
    local what = "of dgrun " .. table.concat(argv, " ")
    canaries.search(result.stdout, "the output " .. what, self.complaints)
    canaries.search(result.stderr, "the errors " .. what, self.complaints)
    return result
end

function Witness:call(method, path)
    local answer = assert(require("host.http").request { url = self.fly.url .. path,
        method = method, headers = { Authorization = "Bearer " .. canaries.token } })
    return answer.body ~= "" and require("dgrun.core.json").decode(answer.body) or nil
end

---The id of a machine of an app that is up, or of one with a schedule; one is started where none
---is up.
---@param app string
---@param kind? "scheduled"
---@return string
function Witness:machine(app, kind)
    local path = ("/v1/apps/%s/machines"):format(app)
    local list = self:call("GET", path)
    for _, machine in ipairs(list) do
        local is_scheduled = machine.config.schedule ~= nil
        if is_scheduled == (kind == "scheduled") and (kind or machine.state == "started") then
            return machine.id
        end
    end
    local id = assert(list[1], app .. " has no machine").id
    self:call("POST", ("%s/%s/start"):format(path, id))
    self:call("GET", ("%s/%s/wait?state=started&timeout=20"):format(path, id))
    return id
end

---How the programs were called.
function Witness:search_calls()
    local count = {}
    for _, file in ipairs(fs.list(self.calls)) do
        local name = file:match "^(.-)%.%d+$"
        local argv, environ = assert(fs.read(self.calls / file)):match "^(.-)\n\n(.*)$"
        count[name] = (count[name] or 0) + 1
        canaries.search(argv, "the arguments of " .. name, self.complaints)
        local trusted = self.trusted and (argv .. environ):find(self.trusted, 1, true)
        canaries.search(trusted and "" or environ, "the environment of " .. name, self.complaints,
            function(canary) return not may_know(name, canary) end)
    end
    return count
end

---Looks at all that is left behind.
function Witness:search_all()
    self.called = self:search_calls()
    canaries.search_files(self.project.dir, self.complaints, function(path)
        return path:match "/%.env%.%a+$" ~= nil
    end)
    canaries.search_files(self.fly_dir, self.complaints, function(path)
        return path:find "/logs%-[^/]*$" ~= nil -- what machines said, not dgrun
    end)
    canaries.search_files(self.home, self.complaints)
    canaries.search_files(self.tmp, self.complaints)
    return self.complaints
end

return M
