-- A rolling update of 200 machines, 20 at a time, on an API that takes 50 ms for each answer:
--   dgrun tests/bench/rolling.lua [machines]
-- The ideal is the calls that must follow each other, times the latency, which is measured first,
-- one call at a time. Pauses that only the platform needs are left out: the smoke check, and the
-- pace of calls on the real Fly.
local api = require "dgrun.fly.api"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local http = require "host.http"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local proc = require "dgrun.proc"
local run = require "dgrun.run"
local task = require "dgrun.core.task"
local time = require "host.time"

local LIMIT = 20
-- One after the other, before and behind the machines: counted below from the requests themselves.
local PER_MACHINE = { "update", "wait", "get" }
local LEASES = { "acquire", "release" }

local count = tonumber((...)) or 200
local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local toml = 'app = "web"\nprimary_region = "ewr"\n[http_service]\ninternal_port = 8080\n'
    .. 'auto_start_machines = true\n'

local function call(url, method, path, body)
    local answer = assert(http.request {
        url = url .. path, method = method, body = body and json.encode(body),
        headers = { Authorization = "Bearer fo1_bench" },
    })
    assert(answer.status < 300, answer.body)
    return answer.body ~= "" and json.decode(answer.body) or nil
end

local function memory_mb()
    local status = assert(fs.read("/proc/self/status", { limit = 65536 }))
    return tonumber(status:match "VmHWM:%s*(%d+)") / 1024
end

---What one call takes when nothing else goes on: the median.
local function latency_of(url)
    local seconds = {}
    for i = 1, 21 do
        local started = time.now()
        call(url, "GET", "/v1/apps/web")
        seconds[i] = time.now() - started
    end
    table.sort(seconds)
    return seconds[11]
end

local function prepare(url)
    for _, name in ipairs { "a", "b" } do
        call(url, "POST", "/sandbox/v1/images", { ref = "registry.fly.io/web:" .. name })
    end
    local config = { image = "registry.fly.io/web:a", metadata = { fly_platform_version = "v2",
        fly_process_group = "app" }, services = { { protocol = "tcp", internal_port = 8080,
        autostart = true, ports = { { port = 443, handlers = { "tls", "http" } } } } } }
    local ids = {}
    for i = 1, count do
        ids[i] = i
    end
    task.map(ids, { limit = LIMIT }, function(i)
        ids[i] = call(url, "POST", "/v1/apps/web/machines", { config = config }).id
    end)
    task.map(ids, { limit = LIMIT }, function(id)
        call(url, "GET", ("/v1/apps/web/machines/%s/wait?state=started"):format(id))
    end)
end

local function rolling(url, dir)
    api.use { token = require("host.secret").new("FLY_API_TOKEN", "fo1_bench"),
        machines_url = url, api_url = url, uiex_url = url, sandbox = true, pace = 0.001 }
    health.smoke_seconds = 0
    assert(fs.write(dir / "fly.toml", toml))
    local before = #call(url, "GET", "/sandbox/v1/requests").requests
    local started = time.now()
    local record = run.execute({ name = "bench", root = dir }, function()
        return require("dgrun.fly.deploy").deploy { app = "web", config = dir / "fly.toml",
            image = "registry.fly.io/web:b", max_unavailable = LIMIT }
    end)
    local seconds = time.now() - started
    assert(record.status == "done", tostring(record.error))
    local alone = 0
    for i, request in ipairs(call(url, "GET", "/sandbox/v1/requests").requests) do
        local path = type(request) == "table" and request.path or request
        -- `ps` looks once for each group where the app listens.
        local single = path:find "/ps$" or not path:find "/machines/"
        if i > before and single and not path:find "/sandbox/" then
            alone = alone + 1
        end
    end
    return seconds, alone
end

run.leave()
local dir = assert(fs.temp_dir "bench")
local child = proc.spawn { argv = { binary, "tests/bench/rolling_server.lua", dir } }
local url = child:read().line
prepare(url)
local latency = latency_of(url)
local seconds, alone = rolling(url, dir)
local waves = 1 + math.ceil((count - 1) / LIMIT)
local critical = alone + #LEASES + waves * #PER_MACHINE
local ideal = critical * latency
local updated = 0
for _, machine in ipairs(machines.list "web") do
    updated = updated + (machine.image_ref.tag == "b" and 1 or 0)
end
print(("rolling update of %d machines, %d at a time: %.2f s, %.2f times the ideal of %d calls "
    .. "of %.1f ms (limit 1.15)"):format(updated, LIMIT, seconds, seconds / ideal, critical,
    latency * 1000))
print(("memory: %.0f MB (limit 60)"):format(memory_mb()))
child:stop()
fs.remove(dir, { recursive = true })
