-- What others can see of the process itself: a core dump of a crash, its memory, its environment.
local canaries = require "support.canaries"
local daemon = require "support.daemon"
local fs = require "host.fs"
local host_task = require "host.task"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local server = require "host.server"
local task = require "dgrun.core.task"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local root = fs.cwd()

---A sanitizer looks into the memory of its own process, and writes no core dump.
local sanitized = (fs.read "/proc/self/maps" or ""):find("libasan", 1, true) ~= nil
local only = sanitized and pending or it

local environments = [[
environments:
  prod:
    app: web
    secrets:
      sources: [env, dotenv: .env.prod]
      required: [DATABASE_URL, SECRET_KEY, S3_SECRET_ACCESS_KEY]
      optional: [GEMINI_API_KEY]
]]

local function temp(name)
    local dir = fs.real(assert(fs.temp_dir(name)))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    return dir
end

---A project whose secrets are in the environment and in a file.
local function project(scripts)
    local dir = temp "memory"
    assert(fs.mkdir(dir / "scripts"))
    assert(fs.write(dir / "scripts/environments.yaml", environments))
    assert(fs.write(dir / ".env.prod", ("GEMINI_API_KEY='%s'\n"):format(
        canaries.values.GEMINI_API_KEY)))
    for name, text in pairs(scripts) do
        assert(fs.write(dir / "scripts" / name .. ".lua", text))
    end
    return dir
end

local function environment(more)
    local env = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8",
        DGRUN_STDLIB = os.getenv "DGRUN_STDLIB" and root / "stdlib" or nil,
        SECRET_KEY = canaries.values.SECRET_KEY, FLY_API_TOKEN = canaries.token,
        S3_SECRET_ACCESS_KEY = canaries.values.S3_SECRET_ACCESS_KEY,
        DATABASE_URL = canaries.url(1, "+asyncpg") }
    for name, value in pairs(more or {}) do
        env[name] = value
    end
    return env
end

---Something that takes requests and does not answer.
local function deaf()
    local listener = assert(server.listen {})
    local requests = {}
    local reader = host_task.spawn(function()
        while true do
            local request = listener:accept()
            if not request then
                return
            end
            requests[#requests + 1] = request
        end
    end, { name = "deaf", daemon = true })
    task.defer(function()
        listener:close()
        reader:join()
    end)
    return ("http://127.0.0.1:%d"):format(listener:port())
end

---It crashes while all of them are in use: in a request, in a connection, in a child.
local CRASH = [[
local dg = require "dgrun"
local s = dg.environment("prod").secrets
local task = require "dgrun.core.task"
pcall(dg.migrations.current, { database = s.DATABASE_URL })
local child = [=[sleep 0.3; kill -ABRT $PPID; sleep 5]=]
task.all {
    function()
        dg.http.post(os.getenv "DEAF", { headers = { Authorization = "Bearer " .. s.SECRET_KEY },
            json = { a = s.S3_SECRET_ACCESS_KEY, b = s.GEMINI_API_KEY } })
    end,
    function() dg.fly.api.machines("GET", "/v1/apps/web/machines") end,
    function()
        dg.proc.run { argv = { "sh", "-c", child }, env = { A = s.SECRET_KEY },
            stdin = s.GEMINI_API_KEY, read_only = true }
    end,
}
]]

---The dump of a crash; nil where there is none.
---@return string?
local function dump_of_crash(env)
    local dir, url = project { crash = CRASH }, deaf()
    env.DEAF, env.FLY_FLAPS_BASE_URL = url, url
    local result = assert(proc.run {
        argv = { "sh", "-c", 'ulimit -c unlimited; exec "$0" crash', binary }, cwd = dir,
        env = environment(env), clean_env = true, timeout = 60,
    })
    assert.equal(128 + 6, result.status, result.stderr)
    for _, name in ipairs(fs.list(dir)) do
        if name:find "core" then
            return assert(fs.read(dir / name, { limit = 2 ^ 30 }))
        end
    end
end

describe("a crash", function()
    only("dumps no core, so that no secret is in one", function()
        assert.is_nil(dump_of_crash {})
        -- That there would be one, with all of them: where the machine writes it to a file.
        local pattern = fs.read "/proc/sys/kernel/core_pattern" or ""
        local limit = assert(proc.run { argv = { "sh", "-c", "ulimit -Hc" } }).stdout
        if pattern:match "^core" and limit:find "unlimited" then
            local dump, found = dump_of_crash { DGRUN_CORE = "1" }, {}
            canaries.search(assert(dump, "no core dump"), "the dump", found)
            assert.is_true(#found > 2, table.concat(found, "\n"))
        end
    end)
end)

describe("the memory of dgrun", function()
    ---What is to be found in it, raw.
    local function needles()
        local texts = { token = canaries.token, password = canaries.encoded_password }
        for _, name in ipairs { "SECRET_KEY", "S3_SECRET_ACCESS_KEY" } do
            texts[name] = canaries.values[name]
        end
        texts.line = canaries.values.GEMINI_API_KEY:match "f1rst[^\n]+"
        return texts
    end

    ---Looks for them once a script has said that it is ready.
    local function look(script)
        local dir = project { script = script .. [[
            collectgarbage()
            collectgarbage()
            io.write "ready\n"
            io.stdout:flush()
            dg.proc.run { argv = { "sleep", "600" }, read_only = true }]] }
        local file = dir / "needles.json"
        assert(fs.write(file, json.encode(needles())))
        local url = deaf()
        local result = assert(proc.run {
            argv = { "/usr/bin/python3", root / "tests/support/memory.py", file, binary, "script" },
            cwd = dir, env = environment { DGRUN_CORE = "1", FLY_FLAPS_BASE_URL = url },
            clean_env = true, timeout = 60,
        })
        assert.equal(0, result.status, result.stderr)
        return json.decode(result.stdout), result.stderr
    end

    only("holds them where no dump reaches, while they wait and after they were used", function()
        for _, use in ipairs {
            "assert(s.SECRET_KEY)",
            [[dg.proc.run { argv = { "true" }, read_only = true, stdin = s.GEMINI_API_KEY,
                env = { A = s.SECRET_KEY, B = s.S3_SECRET_ACCESS_KEY, C = s.DATABASE_URL } }]],
            [[pcall(require("dgrun.core.task").timeout, 0.2, function()
                dg.fly.api.machines("GET", "/v1/apps/web/machines")
            end)]],
        } do
            local found, where = look([[
                local dg = require "dgrun"
                local s = dg.environment("prod").secrets
                ]] .. use .. "\n")
            for name, count in pairs(found) do
                assert.equal(0, count.dumped, name .. " after " .. use .. "\n" .. where)
                assert.is_true(count.kept > 0, name .. " is nowhere")
            end
        end
    end)

    only("is closed to other processes of the same user", function()
        local dir = project { script = [[
            local dg = require "dgrun"
            local s = dg.environment("prod").secrets
            io.write("ready\n")
            io.stdout:flush()
            dg.proc.run { argv = { "sleep", "600" }, read_only = true }]] }
        local as_user = daemon.unprivileged(dir)
        local child = assert(proc.spawn { argv = as_user { binary, "script" }, cwd = dir,
            env = environment(), clean_env = true })
        task.defer(function() child:stop() end)
        assert.equal("ready", assert(child:read()).line)
        for _, name in ipairs { "environ", "mem" } do
            local result = assert(proc.run { argv = as_user {
                "head", "-c", "100000", ("/proc/%d/%s"):format(child:pid(), name) } })
            assert.matches("Permission denied", result.stderr)
            assert.equal("", result.stdout)
        end
    end)
end)
