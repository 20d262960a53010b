-- dgrun status of two environments, on an API that takes 50 ms for each answer:
--   dgrun tests/bench/status.lua [times]
-- The ideal is the longest chain of calls that must follow each other. It is one call: nothing that
-- status asks Fly for needs another answer, which tests/unit/status/init_spec.lua proves. What a
-- call takes is measured first, one at a time.
local fs = require "host.fs"
local http = require "host.http"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local run = require "dgrun.run"
local time = require "host.time"

local CHAIN = 1
local LIMIT = 1.3
local TOKEN = "fo1_bench"

local times = tonumber((...)) or 41
local root = fs.cwd()
local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local apps = { "draft-app", "draft-app-prod" }

local function call(url, method, path, body)
    local answer = assert(http.request {
        url = url .. path, method = method, body = body and json.encode(body),
        headers = { Authorization = "Bearer " .. TOKEN },
    })
    assert(answer.status < 300, answer.body)
    return answer.body ~= "" and json.decode(answer.body) or nil
end

---Of several tries the fastest: what else the computer does meanwhile is not what is measured.
local function fastest(list)
    return math.min(unpack(list))
end

local function output(argv)
    local result = assert(proc.run { argv = argv })
    assert(result.status == 0, result.stderr)
    return (result.stdout:gsub("%s+$", ""))
end

---The sample project; its sites are where the local Fly has them.
local function make_project(dir, url)
    output { root / "tests/fixtures/make-project.sh", dir }
    local file = dir / "scripts/environments.yaml"
    local text = assert(fs.read(file)):gsub("https://([%w-]+)%.fly%.dev", url .. "/sandbox/site/%1")
    assert(fs.write(file, text))
end

---What a deploy of v1.1.0 would have left: two web machines and a cron machine, the secrets.
local function prepare(dir, url)
    local commit = output { "git", "-C", dir, "rev-parse", "v1.1.0^{commit}" }
    for _, app in ipairs(apps) do
        local image = ("registry.fly.io/%s:a"):format(app)
        local machines = ("/v1/apps/%s/machines"):format(app)
        call(url, "POST", "/sandbox/v1/images", { ref = image, behaviour = { body = "ok" } })
        for _ = 1, 2 do
            call(url, "POST", machines, { config = { image = image, metadata = {
                fly_platform_version = "v2", fly_process_group = "app", dgrun_commit = commit },
                services = { { protocol = "tcp", internal_port = 8080, autostart = true,
                    ports = { { port = 443, handlers = { "tls", "http" } } } } } } })
        end
        call(url, "POST", machines, { name = "news-ingestion-cron", config = { image = image,
            schedule = "hourly", metadata = { dgrun_cron = "news-ingestion-cron" } } })
        call(url, "POST", ("/v1/apps/%s/secrets"):format(app), { values = { DATABASE_URL = "x",
            SECRET_KEY = "x", ENV = "x", LOG_LEVEL = "x", ACCESS_LOG = "x" } })
    end
end

local function latency_of(url)
    local seconds = {}
    for i = 1, 21 do
        local started = time.now()
        call(url, "GET", "/v1/apps/draft-app")
        seconds[i] = time.now() - started
    end
    return fastest(seconds)
end

---The report and its text, in this process.
local function ask(dir)
    require("dgrun.project.environment").look_from(dir / "scripts")
    local started = time.now()
    local text
    local record = run.execute({ name = "status", root = dir, journal = false }, function()
        local targets = require("dgrun.project.target").list()
        local report = require("dgrun.status").ask { targets = targets }
        text = require("dgrun.ui.status").text(report)
    end)
    assert(record.status == "done", tostring(record.error))
    assert(text:find("draft-app-prod", 1, true) and text:find("1 behind", 1, true), text)
    assert(not text:find("unknown", 1, true), text)
    return time.now() - started
end

---The whole command, as a person types it.
local function command(dir, url)
    local started = time.now()
    local result = assert(proc.run { argv = { binary, "status" }, cwd = dir, env = {
        FLY_API_TOKEN = TOKEN, FLY_FLAPS_BASE_URL = url, FLY_API_BASE_URL = url,
        FLY_UIEX_BASE_URL = url } })
    assert(result.status == 0, result.stderr)
    return time.now() - started
end

run.leave()
local dir = fs.real(assert(fs.temp_dir "bench"))
local child = assert(proc.spawn { argv = { binary, "tests/bench/status_server.lua", dir } })
local url = child:read().line
local project = dir / "project"
make_project(project, url)
prepare(project, url)
require("dgrun.fly.api").use { token = require("host.secret").new("FLY_API_TOKEN", TOKEN),
    machines_url = url, api_url = url, uiex_url = url, sandbox = true }
local latency = latency_of(url)
local asked, whole = {}, {}
local before = #call(url, "GET", "/sandbox/v1/requests").requests
for i = 1, times do
    asked[i] = ask(project)
end
local calls = (#call(url, "GET", "/sandbox/v1/requests").requests - before - 1) / times
for i = 1, times do
    whole[i] = command(project, url)
end
local ideal = CHAIN * latency
print(("status of %d environments, %g calls of Fly: %.1f ms, %.2f times the ideal of %d call of "
    .. "%.1f ms (limit %.1f)"):format(#apps, calls, fastest(asked) * 1000,
    fastest(asked) / ideal, CHAIN, latency * 1000, LIMIT))
print(("with the start and the end of the program: %.1f ms, %.2f times"):format(
    fastest(whole) * 1000, fastest(whole) / ideal))
child:kill "SIGTERM"
child:wait()
fs.remove(dir, { recursive = true })
