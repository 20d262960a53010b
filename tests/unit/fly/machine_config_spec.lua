local config = require "dgrun.fly.config"
local fly_config = require "support.fly_config"
local json = require "dgrun.core.json"

local machine = fly_config.machine

---What differs between a text and an empty one.
local function part(text, name, group)
    return machine(text, group)[name]
end

describe("the machine of a fly.toml", function()
    it("has files, mounts, statics, metrics, swap, init and a dedicated host", function()
        local got = machine([=[
swap_size_mb = 512
host_dedication_id = "abc"
kill_signal = "SIGTERM"
[experimental]
entrypoint = "/init"
cmd = ["a", "b"]
exec = ["x"]
[mounts]
source = "data"
destination = "/data"
auto_extend_size_threshold = 80
auto_extend_size_increment = "5GB"
auto_extend_size_limit = "100GB"
[[files]]
guest_path = "/etc/a"
local_path = "a.txt"
[[files]]
guest_path = "/etc/b"
secret_name = "B"
[[files]]
guest_path = "/etc/c"
raw_value = "plain"
[[statics]]
guest_path = "/s"
url_prefix = "/static"
[metrics]
port = 9
path = "/m"
https = true
[[vm]]
size = "performance-1x"
]=], "app", { ["a.txt"] = "hello" })
        assert.same({ entrypoint = { "/init" }, cmd = { "a", "b" }, exec = { "x" },
            swap_size_mb = 512 }, got.init)
        assert.same({ { name = "data", path = "/data", extend_threshold_percent = 80,
            add_size_gb = 5, size_gb_limit = 100 } }, got.mounts)
        assert.same({ { guest_path = "/etc/a", raw_value = "aGVsbG8=" },
            { guest_path = "/etc/b", secret_name = "B" },
            { guest_path = "/etc/c", raw_value = "cGxhaW4=" } }, got.files)
        assert.same({ { guest_path = "/s", url_prefix = "/static", tigris_bucket = "",
            index_document = "" } }, got.statics)
        assert.same({ port = 9, path = "/m", https = true }, got.metrics)
        assert.same({ signal = "SIGTERM" }, got.stop_config)
        assert.same({ cpu_kind = "performance", cpus = 1, memory_mb = 2048,
            host_dedication_id = "abc" }, got.guest)
    end)

    it("takes a file away again with an entry without a source", function()
        local text = '[[files]]\nguest_path = "/a"\nraw_value = "1"\n[[files]]\n'
            .. 'guest_path = "/b"\nraw_value = "2"\n[[files]]\nguest_path = "/a"\n'
        assert.same({ { guest_path = "/b", raw_value = "Mg==" } }, part(text, "files"))
    end)

    it("has services with every kind of check, port and autostop", function()
        local services = part([=[
[http_service]
internal_port = 8080
auto_stop_machines = "suspend"
[http_service.concurrency]
type = "requests"
soft_limit = 200
[http_service.tls_options]
versions = ["TLSv1.2"]
[http_service.http_options]
compress = true
[http_service.http_options.response.headers]
Server = false
X = ["a", "b"]
[[http_service.checks]]
interval = "15s"
headers = { Host = "x" }
[[services]]
protocol = "udp"
internal_port = "53"
auto_stop_machines = "off"
concurrency = "20,25"
[services.ports]
port = "53"
[services.tcp_checks]
interval = 3000
grace_period = 500
[[services.http_checks]]
timeout = "2s"
method = "get"
headers = [{ name = "A", value = "b" }]
]=], "services")
        assert.equal("suspend", services[1].autostop)
        assert.same({ versions = { "TLSv1.2" } }, services[1].ports[2].tls_options)
        assert.is_nil(services[1].ports[1].tls_options)
        assert.same({ Server = false, X = { "a", "b" } },
            services[1].ports[1].http_options.response.headers)
        assert.same({ { name = "Host", values = { "x" } } }, services[1].checks[1].headers)
        assert.is_nil(services[1].autostart)
        assert.is_nil(services[1].min_machines_running)
        assert.equal(json.null, services[1].force_instance_key)
        assert.equal("udp", services[2].protocol)
        assert.equal(53, services[2].internal_port)
        assert.is_false(services[2].autostop)
        assert.same({ type = "requests", soft_limit = 20, hard_limit = 25 },
            services[2].concurrency)
        assert.same({ { port = 53 } }, services[2].ports)
        assert.same({ { type = "tcp", interval = "3s", grace_period = "500ms" },
            { type = "http", timeout = "2s", method = "get",
                headers = { { name = "A", values = { "b" } } } } }, services[2].checks)
        for text, sent in pairs { ["true"] = true, ["false"] = false, ['"stop"'] = true,
            ['"off"'] = false } do
            local toml = "[http_service]\ninternal_port = 1\nauto_stop_machines = " .. text
            assert.equal(sent, part(toml, "services")[1].autostop)
        end
    end)

    it("has top level checks", function()
        local text = '[http_service]\ninternal_port = 80\n[checks.a]\ntype = "http"\n'
            .. 'method = "get"\ninterval = 15000\n'
        assert.same({ a = { type = "http", port = 80, method = "GET", interval = "15s" } },
            part(text, "checks"))
        assert.same({ b = { type = "tcp", port = 9 } },
            part('[[checks]]\nname = "b"\ntype = "tcp"\nport = 9', "checks"))
    end)

    it("takes the older forms", function()
        assert.equal("2", part('[[env]]\nA = 1\n[[env]]\nA = 2', "env").A)
        assert.equal("true", part("[env]\nA = true", "env").A)
        assert.same({ "run", "it" }, machine('[[processes]]\nname = "w"\ncommand = "run it"',
            "w").init.cmd)
        assert.equal(512, part("[compute]\nmemory = 512", "guest").memory_mb)
        assert.equal(512, part('[[computes]]\nmemory = "512mb"', "guest").memory_mb)
        assert.equal("/d", part('[mount]\nsource = "a"\ndestination = "/d"', "mounts")[1].path)
        assert.equal(9, part("[metric]\nport = 9", "metrics").port)
        assert.same({ port = 9, path = "/m" },
            part('[experimental]\nmetrics_port = 9\nmetrics_path = "/m"', "metrics"))
        assert.equal("5s", part("[experimental]\nkill_timeout = 5", "stop_config").timeout)
        local _, loaded = fly_config.load("[build]\nbuild_target = 'x'")
        assert.equal("x", loaded.build["build-target"])
        assert.is_nil(part("[services]\n", "services"))
    end)

    it("splits groups: restart, metrics, mounts go to those they name or the default", function()
        local text = '[processes]\napp = "a"\nw = "b"\n[[restart]]\npolicy = "always"\n'
            .. 'retries = 3\n[[restart]]\npolicy = "never"\nprocesses = ["w"]\n[[metrics]]\n'
            .. 'port = 1\n[[mounts]]\nsource = "d"\ndestination = "/d"\nprocesses = ["w"]\n'
        assert.same({ policy = "always", max_retries = 3 }, part(text, "restart"))
        assert.same({ policy = "no" }, part(text, "restart", "w"))
        assert.is_nil(part(text, "metrics", "w"))
        assert.is_nil(part(text, "mounts"))
        assert.equal("d", part(text, "mounts", "w")[1].name)
        assert.equal("app", config.default_group { processes = { app = "", aa = "" } })
        assert.equal("aa", config.default_group { processes = { b = "", aa = "" } })
    end)

    it("lies over machine_config, whose containers get the image", function()
        local text = "container = 'web'\nmachine_config = '''{\"containers\":[{\"name\":"
            .. "\"log\",\"image\":\"i\"},{\"name\":\"web\"}],\"env\":{\"A\":\"base\",\"B\":"
            .. "\"base\"},\"schedule\":\"daily\",\"restart\":{\"policy\":\"no\"}}'''\n"
            .. "[env]\nA = 'mine'\n"
        local got = machine(text)
        assert.same({ A = "mine", FLY_PROCESS_GROUP = "app" }, got.env)
        assert.equal("daily", got.schedule)
        assert.is_nil(got.restart)
        local _, loaded = fly_config.load(text)
        require("dgrun.fly.machine_config").set_image(loaded, got, "img")
        assert.equal("img", got.containers[2].image)
        assert.equal("i", got.containers[1].image)
    end)

    it("refuses a machine_config that flyctl's types do not hold", function()
        for text, problem in pairs {
            ['{"guest":"x"}'] = "guest: must be a table, not 'x'",
            ['{"Metadata":{"a":1}}'] = "Metadata.a: must be a string, not 1",
            ['{"guest":{"cpus":1.5}}'] = "guest.cpus: must be a whole number, not 1.5",
            ['{"schedule":01}'] = "is not a JSON object", ["[]"] = "is not a JSON object",
            ["x"] = "is not a JSON object",
        } do
            local ok, e = fly_config.load("machine_config = '''" .. text .. "'''")
            assert.is_false(ok, text)
            assert.matches(problem, e.msg, 1, true)
        end
    end)

    it("keeps what it does not know, and what a deploy keeps", function()
        local loaded = select(2, fly_config.load "[env]\nA = 1\n")
        local before = json.decode('{"future":{"x":[],"n":12345678901234567890},"dns":{},'
            .. '"init":{"tty":true,"kernel_args":["a"],"cmd":["old"]},"schedule":"daily",'
            .. '"mounts":[{"volume":"vol_1"}],"rootfs":{"persist":"always"}}')
        local after = config.machine(loaded, "app", before)
        assert.equal('{"n":12345678901234567890,"x":[]}', json.encode(after.future))
        assert.same({ tty = true, kernel_args = { "a" } }, after.init)
        assert.equal("daily", after.schedule)
        assert.same({ persist = "always" }, after.rootfs)
        assert.is_nil(after.mounts)
    end)

    it("tells its machine checks, its address and the kind of IP", function()
        local _, loaded = fly_config.load('[http_service]\ninternal_port = 1\n'
            .. '[[http_service.machine_checks]]\ncommand = ["a"]\n[[machine_checks]]\n'
            .. 'command = ["b"]\nimage = "i"\n')
        local checks = require("dgrun.fly.machine_config").machine_checks(loaded, "app")
        assert.same({ { command = { "a" } }, { command = { "b" }, image = "i" } }, checks)
        assert.equal("https://x.fly.dev/", config.public_url(loaded, "x"))
        assert.equal("shared", config.ip_kind(loaded))
        for port, expected in pairs {
            ['port = 80\nhandlers = ["http"]'] = "http://x.fly.dev/ shared",
            ['port = 443\nhandlers = ["http", "tls"]'] = "https://x.fly.dev/ shared",
            ['port = 8443\nhandlers = ["http", "tls"]'] = "https://x.fly.dev:8443/ dedicated",
            ["port = 25"] = "nil dedicated", ["port = 443"] = "nil dedicated",
        } do
            _, loaded = fly_config.load("[[services]]\ninternal_port = 1\n"
                .. "[[services.ports]]\n" .. port)
            assert.equal(expected, ("%s %s"):format(tostring(config.public_url(loaded, "x")),
                config.ip_kind(loaded)))
        end
    end)

    it("sends back all of what it was given that is not its own", function()
        local loaded = select(2, fly_config.load "[env]\nA = 1\n")
        local own = { env = true, init = true, metadata = true, services = true, checks = true,
            metrics = true, statics = true, stop_config = true, restart = true, mounts = true,
            files = true }
        local function text_of(depth)
            local kind = math.random(depth > 3 and 5 or 7)
            if kind <= 5 then
                return ({ "[]", "{}", "12345678901234567890", '"x"', "null" })[kind]
            end
            local items = {}
            for i = 1, math.random(0, 4) do
                items[i] = (kind == 6 and "" or ('"k%d":'):format(i)) .. text_of(depth + 1)
            end
            local list = table.concat(items, ",")
            return kind == 6 and "[" .. list .. "]" or "{" .. list .. "}"
        end
        for _ = 1, 200 do
            local text = ('{"future":%s,"dns":%s,"schedule":"daily","containers":%s}'):format(
                text_of(0), text_of(0), text_of(0))
            local before = json.decode(text)
            local sent = json.decode(json.encode(config.machine(loaded, "app", before)))
            for name in pairs(sent) do
                if own[name] then
                    sent[name] = nil
                end
            end
            assert.equal(json.encode(before), json.encode(sent))
        end
    end)
end)
