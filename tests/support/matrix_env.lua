-- A project and a local Fly for one case of a matrix, both copied from a template; clients are
-- dgrun processes of their own: support/client.lua.
local faults = require "sandbox.faults"
local fs = require "host.fs"
local http = require "host.http"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local sandbox = require "sandbox"
local task = require "dgrun.core.task"

local M = {}

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local root = fs.cwd()
local TOKEN = "fo1_field"

M.apps = { "draft-app", "draft-app-prod" }
---How fast the local Fly goes, and how much of its pauses dgrun takes.
M.pace = 0.004

---@class support.matrix_env
---@field dir string of the project
---@field fly table
---@field output string[] of the clients, whole texts
---@field gate? string pattern of paths; POSTs to them wait until it is gone
---@field weather? {stall: number, rate: number, seed: integer}
local Field = {}
Field.__index = Field

local function sh(argv)
    local result = assert(proc.run { argv = argv })
    assert(result.status == 0, result.stderr)
end

-- The n-th call that reaches a field's Fly, and when its client gets a signal: "request", before it
-- is carried out; "carried_out", behind that and before the answer.
local match, apply = faults.match, faults.apply
local by_dir = {}
local names = { [2] = "INT", [9] = "KILL", [15] = "TERM" }

local PRIME = 2 ^ 31 - 1
local STALL = 0.1

---By chance an answer takes long: for the local Fly's clock, by which leases run out.
local function stall(world, weather)
    weather.state = (weather.state or weather.seed * 48271) * 16807 % PRIME
    if weather.state / PRIME < weather.rate then
        require("host.time").sleep(STALL)
        require("sandbox.clock_requests").advance(world, nil, { advance = weather.stall })
    end
end

function faults.match(world, request)
    local field = by_dir[world.dir]
    while field and field.gate and request.method == "POST" and request.path:find(field.gate) do
        require("host.time").sleep(0.01)
    end
    if field and field.weather then
        stall(world, field.weather)
    end
    local trap = field and field.trap
    if trap and not request.path:find("^/sandbox/v1/") then
        trap.seen = trap.seen + 1
        if trap.seen == trap.at then
            return { when = trap.where == "request" and "before" or "after", field = field,
                world = world }
        end
    end
    return match(world, request)
end

function faults.apply(fault, request, real)
    if not fault.field then
        return apply(fault, request, real)
    end
    local trap = fault.field.trap
    fault.field.trap = nil
    fault.field.client:kill(names[trap.signal])
    if trap.signal == 9 then
        request:abort()
    else
        request:reply(real or require("sandbox.router").answer(fault.world, request))
    end
end

---Copies a project, but for its repository, which both share: nothing is written to it.
function M.copy(from, to)
    assert(fs.mkdir(to))
    local words = { "cp", "-a" }
    for _, name in ipairs(fs.list(from)) do
        if name ~= ".git" and name ~= "origin.git" then
            words[#words + 1] = from / name
        end
    end
    words[#words + 1] = to
    sh(words)
    local shared = fs.stat(from / ".git").type == "file" and fs.read(from / ".git")
        or "gitdir: " .. from .. "/.git\n"
    assert(fs.write(to / ".git", shared))
end

---@param template string folder with a project, its .dgrun/sandbox that of the local Fly
---@return support.matrix_env # gone at the end of the scope
function M.new(template)
    local base = fs.real(assert(fs.temp_dir "field"))
    local self = setmetatable({ base = base, dir = base / "project", output = {} }, Field)
    task.defer(function()
        if self.fly then
            self.fly.close()
            by_dir[self.fly_dir] = nil
        end
        fs.remove(base, { recursive = true })
    end)
    M.copy(template, self.dir)
    assert(fs.mkdir(base / "tmp"))
    self.fly_dir = self.dir / "fly"
    self:open()
    return self
end

function Field:open()
    self.fly = sandbox.start { dir = self.fly_dir, apps = M.apps, token = TOKEN, pace = M.pace }
    by_dir[self.fly_dir] = self
end

---@return integer? status
---@return any body
function Field:call(method, path, value)
    local answer = assert(http.request {
        url = self.fly.url .. path, method = method, body = value and json.encode(value) or nil,
        headers = { Authorization = "Bearer " .. TOKEN },
    })
    return answer.status, answer.body ~= "" and json.decode(answer.body) or nil
end

---Starts a client; `client:read()` and `client:wait()` are those of host.proc.
---@param argv string[]
---@param settings? table of support/client.lua
---@param env? table
---@param prefix? string[] a command that runs it
function Field:spawn(argv, settings, env, prefix)
    local all = { url = self.fly.url, token = TOKEN, pace = M.pace, poll = 0.05 }
    for name, value in pairs(settings or {}) do
        all[name] = value
    end
    local environment = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8",
        TMPDIR = self.base / "tmp",
        -- The client ends by os.exit, which leaves all to the system.
        ASAN_OPTIONS = "detect_leaks=0",
        DGRUN_STDLIB = os.getenv "DGRUN_STDLIB",
        DGRUN_TEST_CLIENT = json.encode(all) }
    for name, value in pairs(env or {}) do
        environment[name] = value
    end
    local words = {}
    for _, list in ipairs { prefix or {}, { binary, root / "tests/support/client.lua" }, argv } do
        for _, word in ipairs(list) do
            words[#words + 1] = word
        end
    end
    return assert(proc.spawn { argv = words, cwd = self.dir, clean_env = true,
        env = environment })
end

---Runs a client to its end.
---@return {status: integer, signal?: integer, text: string}
function Field:run(argv, settings, env)
    local client = self:spawn(argv, settings, env)
    self.client = client
    local lines = {}
    for line in function() return client:read() end do
        lines[#lines + 1] = line.line
    end
    local exit = client:wait()
    local text = table.concat(lines, "\n")
    self.output[#self.output + 1] = text
    return { status = exit.status, signal = exit.signal, text = text }
end

---The machine leases of a client that was killed run out.
function Field:pass_time(seconds)
    assert(self:call("POST", "/sandbox/v1/clock", { advance = seconds }) == 200)
end

---@param sql string
function Field:query(file, sql)
    local db = assert(require("host.sqlite").open(self.dir / file, { read_only = true }))
    local rows = assert(db:query(sql))
    db:close()
    return rows
end

return M
