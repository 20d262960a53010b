-- The local Fly in the background: dgrun --sandbox starts it, later commands find it.
local background = require "support.background"
local daemon = require "support.daemon"
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local host_task = require "host.task"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local project_of = require "support.project"
local sample = require "support.sample"
local sandbox = require "support.sandbox"
local scripts = require "support.scripts"
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local environments = [[
environments:
  stage: { app: web-stage, config: fly.toml }
  prod: { app: web, config: fly.toml, url: https://web.fly.dev }
]]

local Project = {}
Project.__index = Project

local function new_project()
    return setmetatable({ dir = fs.real(project_of.make {
        ["scripts/environments.yaml"] = environments, ["Dockerfile"] = "FROM scratch\n"
            .. 'WORKDIR /app\nCOPY page.html ./\nCMD exec python3 -m http.server "$PORT" '
            .. "--bind 0.0.0.0\n",
        ["page.html"] = "<h1>web</h1>\n",
    }) }, Project)
end

function Project:run(argv, env)
    local all = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8",
        TMPDIR = os.getenv "TMPDIR", DGRUN_STDLIB = os.getenv "DGRUN_STDLIB",
        ASAN_OPTIONS = os.getenv "ASAN_OPTIONS", LSAN_OPTIONS = os.getenv "LSAN_OPTIONS" }
    for name, value in pairs(env or {}) do
        all[name] = value
    end
    local result = assert(proc.run { argv = { binary, unpack(argv) }, cwd = self.dir,
        clean_env = true, env = all, timeout = 120 })
    result.all = result.stdout .. result.stderr
    return result
end

---The URL of the local Fly that a command finds.
function Project:url(env)
    local result = self:run({ "--sandbox", "-e",
        'local api = require "dgrun.fly.api"; '
            .. 'api.machines("GET", "/v1/apps/web"); '
            .. 'print(api.machines_url())' }, env)
    assert.equal(0, result.status, result.all)
    return result.stdout:match "http%S+"
end

function Project:pid()
    return background.address(self.dir).pid
end

function Project:call(method, path, value)
    local here = background.address(self.dir)
    local answer, e = require("host.http").request { url = here.url .. path, method = method,
        body = value and json.encode(value), timeout = 30,
        headers = { Authorization = "Bearer " .. fs.read(self.dir / ".dgrun/sandbox/token") } }
    assert(answer, tostring(e))
    return answer.body ~= "" and json.decode(answer.body) or {}, answer.status
end

function Project:machine(id)
    return (self:call("GET", "/v1/apps/web/machines/" .. id))
end

---A machine whose command really runs.
function Project:web()
    local built, status = self:call("POST", "/sandbox/v1/builds",
        { app = "web", label = "one", dir = self.dir })
    assert(status == 200 or status == 201, built.error)
    local config = { image = "registry.fly.io/web:one", guest = sandbox.web_config.guest,
        services = { { protocol = "tcp", internal_port = 8080, autostart = true,
            ports = { { port = 443, handlers = { "tls", "http" } } },
            checks = { { type = "http", path = "/page.html", interval = "15s",
                timeout = "2s" } } } } }
    local machine = self:call("POST", "/v1/apps/web/machines", { config = config })
    until_true(function()
        local checks = self:machine(machine.id).checks
        return checks and checks[1] and checks[1].status == "passing"
    end, "the check passes")
    return machine.id
end

local function gone(pid)
    until_true(function() return not background.lives(pid) end, "the local Fly ends")
end

---The processes that serve a project's local Fly.
local function servers(dir)
    local found = {}
    for _, pid in ipairs(fs.list "/proc") do
        local words = pid:match "^%d+$" and fs.read(("/proc/%s/cmdline"):format(pid)) or ""
        if words:find(dir .. "\0sandbox\0--background", 1, true) then
            found[#found + 1] = tonumber(pid)
        end
    end
    return found
end

describe("the local Fly in the background", function()
    it("is started by the first command, found by later ones, and stopped", function()
        local project = new_project()
        assert.matches("does not run", project:run({ "sandbox", "status" }).stdout)
        assert.matches("does not run", project:run({ "sandbox", "stop" }).stderr)
        local url = project:url()
        local pid = project:pid()
        assert.equal(url, project:url())
        assert.equal(pid, project:pid())
        local status = project:run({ "sandbox", "status" }).stdout
        for _, text in ipairs { tostring(pid), url, project.dir / ".dgrun/sandbox" } do
            assert.matches(text, status, 1, true)
        end
        assert.equal(0, project:run({ "sandbox", "stop" }).status)
        gone(pid)
        -- Who exported the address of the one before it may go on.
        assert.equal(url, project:url())
        assert.is_true(pid ~= project:pid())
    end)

    it("is detached, and private", function()
        local project = new_project()
        -- A descriptor of the command's own caller.
        local shell = [[exec 7<"$0"; exec "$@"]]
        local run = assert(proc.run { cwd = project.dir, argv = { "/bin/sh", "-c", shell,
            project.dir / "page.html", binary, "--sandbox", "-e", "return 1" },
            env = { FLY_API_TOKEN = "fo1_secret", MY_PASSWORD = "correct-horse" } })
        assert.equal(0, run.status, run.stderr)
        local folder, place = "/proc/" .. project:pid(), project.dir / ".dgrun/sandbox"
        local stat = assert(fs.read(folder / "stat"))
        assert.equal(project:pid(), tonumber(stat:match "%) %a %d+ %d+ (%d+)"))
        -- Only the superuser looks into a process that keeps itself private.
        local is_root = daemon.is_superuser()
        if is_root then
            assert.equal("/", fs.real(folder / "cwd"))
            assert.equal("/dev/null", fs.real(folder / "fd/0"))
            for _, fd in ipairs { "1", "2" } do
                assert.equal(place / "background.log", fs.real(folder / "fd" / fd))
            end
            for _, fd in ipairs(fs.list(folder / "fd")) do
                assert.is_true(fs.real(folder / "fd" / fd) ~= project.dir / "page.html")
            end
        else
            assert.is_nil((fs.real(folder / "cwd")))
        end
        for _, file in ipairs(is_root and { "cmdline", "environ" } or { "cmdline" }) do
            local text = assert(fs.read(folder / file))
            for _, value in ipairs { "fo1_secret", "correct-horse", fs.read(place / "token") } do
                assert.is_nil(text:find(value, 1, true))
            end
        end
        assert.equal(tonumber("700", 8), fs.stat(place).mode)
        for _, name in ipairs(fs.list(place)) do
            local info = fs.stat(place / name)
            assert.equal(tonumber(info.type == "directory" and "700" or "600", 8), info.mode, name)
        end
    end)

    it("is started once by several first commands", function()
        local project = new_project()
        local urls = task.map({ 1, 2, 3, 4 }, {}, function() return project:url() end)
        assert.same({ urls[1], urls[1], urls[1], urls[1] }, urls)
        assert.same({ project:pid() }, servers(project.dir))
    end)

    it("loses nothing when it is killed: machines run again before the first answer", function()
        local project = new_project()
        project:url()
        local id = project:web()
        local pid = project:pid()
        assert(proc.run { argv = { "kill", "-9", tostring(pid) } })
        gone(pid)
        project:url()
        assert.is_true(pid ~= project:pid())
        local machine = project:machine(id)
        assert.equal("started", machine.state)
        assert.equal("passing", machine.checks[1].status, machine.checks[1].output)
        local page = assert(require("host.http").request {
            url = background.address(project.dir).url .. "/sandbox/site/web/page.html" })
        assert.equal(200, page.status)
    end)

    it("keeps machines up between commands", function()
        local project = new_project()
        project:url()
        local id = project:web()
        local events = #project:machine(id).events
        for _ = 1, 3 do
            project:url()
        end
        local machine = project:machine(id)
        assert.equal("passing", machine.checks[1].status)
        assert.equal(events, #machine.events)
    end)

    it("of another build is replaced", function()
        local project = new_project()
        project:url()
        local pid = project:pid()
        local other = project.dir / "other"
        assert(fs.symlink(fs.real(os.getenv "DGRUN_STDLIB" or "stdlib"), other))
        project:url { DGRUN_STDLIB = other }
        assert.is_true(pid ~= project:pid())
        gone(pid)
    end)

    it("ends when its folder is removed", function()
        local project = new_project()
        project:url()
        local pid = project:pid()
        assert(fs.remove(project.dir / ".dgrun", { recursive = true }))
        gone(pid)
        assert.is_false(fs.exists(project.dir / ".dgrun"))
    end)

    it("says why it does not start", function()
        local project = new_project()
        assert(fs.mkdir(project.dir / ".dgrun/sandbox"))
        assert(fs.write(project.dir / ".dgrun/sandbox/state.json", "{ no JSON"))
        local run = project:run { "--sandbox", "-e", "return 1" }
        assert.equal(1, run.status)
        assert.matches("the local Fly does not start: ", run.stderr, 1, true)
        assert.matches("state.json", run.stderr, 1, true)
    end)

    it("makes room for one in the foreground, of which there is one", function()
        local project = new_project()
        local url = project:url()
        local pid = project:pid()
        local first = scripts.dgrun({ root = project.dir }, "sandbox")
        first.said(url)
        gone(pid)
        assert.equal(first.pid, project:pid())
        assert.equal(url, project:url())
        local second = project:run { "sandbox" }
        assert.equal(1, second.status)
        assert.matches("already runs, as process " .. first.pid, second.stderr, 1, true)
        assert.equal(0, project:run({ "sandbox", "stop" }).status)
        assert.equal(0, first.ended().status)
    end)

    it("runs scheduled jobs while it lives, and logs -f shows them", function()
        local project = new_project()
        project:url()
        assert(select(2, project:call("POST", "/sandbox/v1/images",
            { ref = "registry.fly.io/web:job", behaviour = { log = { "the job ran" },
                exit_code = 0 } })) == 201)
        local machine = project:call("POST", "/v1/apps/web/machines", { config = {
            image = "registry.fly.io/web:job", schedule = "hourly",
            restart = { policy = "no" }, guest = sandbox.web_config.guest } })
        until_true(function() return project:machine(machine.id).state == "stopped" end)
        local child = scripts.dgrun({ root = project.dir }, "--sandbox", "logs", "--app", "web",
            "-f", "-n", "0")
        local jobs = 0
        local ticker = host_task.spawn(function()
            while jobs == 0 do
                project:call("POST", "/sandbox/v1/clock", { advance = 3600 })
                task.sleep(0.5)
            end
        end, { name = "clock", daemon = true })
        child.said "the job ran"
        jobs = 1
        ticker:join()
        child.kill "SIGINT"
        child.ended()
    end)

    full_it("shows no false problem in 100 calls of status", function()
        local project = sample.new()
        local deploy = project:run { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }
        assert.equal(0, deploy.status, deploy.all)
        for _ = 1, 100 do
            local status = project:run { "--sandbox", "status", "prod", "--exit-code" }
            assert.equal(0, status.status, status.all)
        end
    end)
end)
