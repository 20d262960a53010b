local config = require "dgrun.fly.config"
local fs = require "host.fs"
local image = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local units = require "dgrun.fly.units"

local function load(text, name)
    local dir = assert(fs.temp_dir("config"))
    local path = dir / (name or "fly.toml")
    assert(fs.write(path, text))
    local ok, result = pcall(config.load, path)
    fs.remove(dir, { recursive = true })
    return ok, result
end

local function machine(text, group)
    local ok, loaded = load(text)
    assert(ok, tostring(loaded))
    return config.machine(loaded, group or "app")
end

describe("fly.toml", function()
    it("becomes the machine configuration of the reference's example", function()
        local got = machine [=[
app = "draft-app"
primary_region = "ams"
kill_timeout = 30
[deploy]
release_command = "alembic upgrade head"
[env]
LOG_LEVEL = "info"
[http_service]
internal_port = 8000
force_https = true
auto_stop_machines = "stop"
auto_start_machines = true
min_machines_running = 1
[[http_service.checks]]
interval = "15s"
timeout = "2s"
grace_period = "10s"
method = "GET"
path = "/healthz"
[[vm]]
size = "shared-cpu-1x"
memory = "512mb"
]=]
        assert.same({
            env = { LOG_LEVEL = "info", FLY_PROCESS_GROUP = "app", PRIMARY_REGION = "ams" },
            init = {},
            guest = { cpu_kind = "shared", cpus = 1, memory_mb = 512 },
            metadata = { fly_platform_version = "v2", fly_process_group = "app" },
            services = { {
                protocol = "tcp", internal_port = 8000, autostop = true, autostart = true,
                min_machines_running = 1,
                ports = { { port = 80, handlers = { "http" }, force_https = true },
                    { port = 443, handlers = { "http", "tls" } } },
                checks = { { type = "http", interval = "15s", timeout = "2s",
                    grace_period = "10s", method = "GET", path = "/healthz" } },
                force_instance_key = json.null,
            } },
            stop_config = { timeout = "30s" },
        }, got)
    end)

    it("keeps what a deploy keeps of a machine, and rebuilds the rest", function()
        local ok, loaded = load('[env]\nA = 1\n')
        assert.is_true(ok)
        local got = config.machine(loaded, "app", {
            env = { OLD = "x" }, schedule = "daily", guest = { cpus = 4 },
            restart = { policy = "no" },
            metadata = { mine = "1" }, services = { {} }, auto_destroy = true,
        })
        assert.same({ A = "1", FLY_PROCESS_GROUP = "app" }, got.env)
        assert.equal("daily", got.schedule)
        assert.same({ cpus = 4 }, got.guest)
        assert.is_nil(got.restart)
        assert.is_nil(got.services)
        assert.equal("1", got.metadata.mine)
        assert.is_true(got.auto_destroy)
    end)

    it("gives each process group its own", function()
        local text = [=[
[processes]
web = "serve --port 80"
worker = "work 'a b' \"c d\""
[[services]]
internal_port = "80"
processes = ["web"]
[services.concurrency]
hard_limit = 2
[[services.ports]]
port = "80"
handlers = ["http"]
[[services.tcp_checks]]
interval = 3000
[[vm]]
memory = 1024
[[vm]]
size = "performance-2x"
processes = ["worker"]
[[restart]]
policy = "never"
processes = ["worker"]
]=]
        local web, worker = machine(text, "web"), machine(text, "worker")
        assert.same({ "serve", "--port", "80" }, web.init.cmd)
        assert.same({ "work", "a b", "c d" }, worker.init.cmd)
        assert.equal(80, web.services[1].internal_port)
        assert.equal("3s", web.services[1].checks[1].interval)
        assert.is_nil(worker.services)
        assert.equal(1024, web.guest.memory_mb)
        assert.same({ cpu_kind = "performance", cpus = 2, memory_mb = 4096 }, worker.guest)
        assert.same({ policy = "no" }, worker.restart)
    end)

    it("reads JSON and YAML too", function()
        local ok, loaded = load('{"app":"x","env":{"A":"b"}}', "fly.json")
        assert.is_true(ok)
        assert.equal("x", loaded.app)
        ok, loaded = load("app: x\nenv: { A: b }\n", "fly.yaml")
        assert.is_true(ok)
        assert.equal("b", loaded.env.A)
    end)

    it("refuses what it cannot carry out, by name", function()
        for text, pattern in pairs {
            ["[mounts]\nsource = 'a'"] = "needs source and destination",
            ["primary_region = 1"] = "must be a string, not 1",
            ["[deploy]\nstrategy = 'fast'"] = "'fast' is not one of",
            ["[deploy]\nrelease_command = \"a 'b\""] = "cannot be split",
            ["[[vm]]\nsize = 'huge'"] = "unknown size 'huge'",
            ["[[vm]]\nmemory = 'lots'"] = "'lots' is not a size",
            ["[http_service]\nauto_stop_machines = 'maybe'"] = "'maybe' is not one of",
            ["[[http_service.checks]]\ninterval = '15'"] = "'15' is not a duration",
            ["[processes]\napp = \"a 'b\""] = "a quote is not closed",
            ["[[restart]]\npolicy = 'often'"] = "'often' is not one of",
        } do
            local ok, e = load(text)
            assert.is_false(ok, text)
            assert.equal("fly.config", e.code)
            assert.matches(pattern, e.msg, 1, true)
        end
    end)
end)

describe("units", function()
    it("splits command lines as shlex does", function()
        for line, words in pairs {
            ["a  b\tc"] = { "a", "b", "c" }, ["'a b' \"c \\\" d\""] = { "a b", 'c " d' },
            ["a\\ b"] = { "a b" }, ["a # b"] = { "a" }, ["a#b"] = { "a#b" }, ["''"] = { "" },
            ["a'b'\"c\""] = { "abc" }, ["$X *.py && ls"] = { "$X", "*.py", "&&", "ls" },
            [""] = {}, ["'a\\b'"] = { "a\\b" },
        } do
            assert.same(words, units.words(line))
        end
        assert.is_nil(units.words "a 'b")
        assert.is_nil(units.words "a\\")
    end)

    it("reads sizes", function()
        for text, megabytes in pairs { ["512mb"] = 512, ["1gb"] = 1024, ["2GB"] = 2048,
            ["256"] = 256, ["1tb"] = 1024 ^ 2, ["2.5gb"] = 2560, ["1GiB"] = 1024,
            ["2147483648b"] = 2048, ["1 gb"] = 1024 } do
            assert.equal(megabytes, units.memory(text))
        end
        for _, text in ipairs { "0", "", "1kb", "2Gi", " 1gb", "1gb ", "1,5gb", "true", "2_048",
            "5 g b" } do
            assert.is_nil(units.memory(text))
        end
        for text, gigabytes in pairs { ["10"] = 10, ["1.5gb"] = 1, ["1tb"] = 1000,
            ["999mb"] = 0 } do
            assert.equal(gigabytes, units.gigabytes(text))
        end
    end)
end)

describe("image references", function()
    local digest = "sha256:" .. ("a"):rep(64)

    it("are taken apart and put together", function()
        for _, text in ipairs { "registry.fly.io/app:v1", "registry.fly.io/app:v1@" .. digest,
            "registry.fly.io/app@" .. digest, "localhost:5000/a/b:c" } do
            assert.equal(text, image.format(image.parse(text)))
        end
        assert.equal("docker.io", image.parse("nginx:1").registry)
        assert.is_false(pcall(image.parse, "Not An Image"))
        assert.is_false(pcall(image.parse, "a@md5:1"))
    end)

    it("are the same by digest, where both have one", function()
        local tagged = "registry.fly.io/app:v1"
        assert.is_true(image.same(tagged, tagged .. "@" .. digest))
        assert.is_true(image.same("registry.fly.io/app:v2@" .. digest, tagged .. "@" .. digest))
        assert.is_false(image.same(tagged, "registry.fly.io/app:v2"))
        assert.is_false(image.same(tagged .. "@" .. digest,
            tagged .. "@sha256:" .. ("b"):rep(64)))
    end)
end)
