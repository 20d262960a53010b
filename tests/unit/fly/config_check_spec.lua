local fly_config = require "support.fly_config"
local json = require "dgrun.core.json"
local schema = require("dgrun.fly.config_schema").shape

local problems, warnings = fly_config.problems, fly_config.warnings

describe("a fly.toml's problems", function()
    it("are told with their lines, all at once", function()
        assert.same({
            "fly.toml:2: kill_timeout: 'soon' is not a duration; write 10s, 500ms or 1m30s",
            "fly.toml:5: http_service.internal_port: must be a whole number, not 'web'",
            "fly.toml:9: services[1].ports[0].port: must be a whole number, not 'http'",
            "fly.toml:12: vm[0].size: must be a string, not 4",
        }, problems [=[
app = "x"
kill_timeout = "soon"
# a comment with [brackets]
[http_service]
internal_port = "web"
[[services]]
internal_port = 80
[[services]]
ports = [{ port = "http" }]
[[vm]]
memory = 512
size = 4
]=])
    end)

    it("have lines in JSON and YAML too", function()
        assert.same({ "fly.json:5: services[1].internal_port: must be a whole number, not 'x'" },
            problems('{\n "app": "a",\n "services": [\n  {"internal_port": 80},\n'
                .. '  {"internal_port": "x"}\n ]\n}\n', "fly.json"))
        assert.same({ "fly.yaml:6: services[1].internal_port: must be a whole number, not 'x'" },
            problems("app: a\nservices:\n  - internal_port: 80\n    protocol: tcp\n"
                .. "  - protocol: tcp\n    internal_port: x\n", "fly.yaml"))
        assert.same({ "fly.yaml:3: services[0].internal_port: must be a whole number, not 'x'" },
            problems("app: a\nservices:\n- internal_port: x\n", "fly.yaml"))
    end)

    it("have lines in every style, which the decoders know", function()
        assert.same({ "fly.yaml:3: services[1].internal_port: must be a whole number, not 'x'" },
            problems("services: [{internal_port: 80},\n  {protocol: tcp,\n   internal_port: x}]",
                "fly.yaml"))
        assert.same({ "fly.yaml:4: kill_timeout: 'soon' is not a duration; write 10s, 500ms or "
            .. "1m30s" }, problems("env:\n  A: |\n    kill_timeout: 1\nkill_timeout: soon",
                "fly.yaml"))
        assert.same({
            "fly.toml:3: http_service.internal_port: must be a whole number, not 'web'",
            "fly.toml:5: services[0].ports[1].port: must be a whole number, not 'http'",
            "fly.toml:7: vm[0].size: must be a string, not 4",
        }, problems [=[
env.TEXT = """
http_service.internal_port = 1"""
http_service.internal_port = "web"
services = [{internal_port = 80, ports = [{port = 80},
 {port = "http"}]}]
[compute]
size = 4
]=])
    end)

    it("are what flyctl's JSON reader refuses, too", function()
        for _, value in ipairs { "NaN", "0x10", "01", "+1", "1.", "1e999", '"a\tb"' } do
            local ok, e = fly_config.load(('{"env": {"A": %s}}'):format(value), "fly.json")
            assert.is_false(ok, value)
            assert.equal("fly.config", e.code)
        end
        for _, value in ipairs { "-0", "1e5", "1E+2", "-1.50", '"\\t"', "null" } do
            assert.is_true(fly_config.load(('{"env": {"A": %s}}'):format(value), "fly.json"), value)
        end
    end)

    for _, case in ipairs {
        { '[deploy]\nstrategy = "fast"', "2: deploy.strategy: 'fast' is not one of rolling, canary,"
            .. " immediate, bluegreen" },
        { '[deploy]\nstrategy = "canary"\n[[mounts]]\nsource = "a"\ndestination = "/a"',
            "2: deploy.strategy: canary does not work with mounts" },
        { '[deploy]\nrelease_command = "a \'b"',
            "2: deploy.release_command: cannot be split into words: a quote is not closed" },
        { '[deploy]\nmax_unavailable = 0', "2: deploy.max_unavailable: must be more than 0" },
        { 'console_command = "a\\\\"',
            "1: console_command: cannot be split into words: the text ends with a backslash" },
        { '[processes]\nweb = "a \\"b"',
            "2: processes.web: cannot be split into words: a quote is not closed" },
        { "[checks.a]\nport = 1\ntype = \"udp\"",
            "3: checks.a.type: must be http or tcp, not 'udp'" },
        { "[checks.a]\nport = 1", "1: checks.a.type: must be http or tcp" },
        { '[checks.a]\nport = 1\ntype = "tcp"\ninterval = "1s"',
            "4: checks.a.interval: must be 2s or more" },
        { '[checks.a]\nport = 1\ntype = "tcp"\ntimeout = 61000',
            "4: checks.a.timeout: must be 1m or less" },
        { '[checks.a]\ntype = "tcp"', "1: checks.a: no port set" },
        { '[processes]\nweb = "a"\n[http_service]\ninternal_port = 1',
            "3: http_service: with [processes], a service must list its processes" },
        { '[processes]\nweb = "a"\n[[services]]\nprocesses = ["nosuch"]\n',
            "4: services[0].processes[0]: no process group 'nosuch'" },
        { '[[mounts]]\nsource = "a"\ndestination = "/a"\n[[mounts]]\nsource = "b"\n'
            .. 'destination = "/b"', "4: mounts[1]: group 'app' has several mounts; a machine "
            .. "takes "
            .. "one volume" },
        { '[mounts]\nsource = "a"\ndestination = "/a"\ninitial_size = "500MB"',
            "4: mounts[0].initial_size: must be 1GB or more" },
        { '[mounts]\nsource = "a"\ndestination = "/a"\nsnapshot_retention = 61',
            "4: mounts[0].snapshot_retention: must be from 1 to 60 days" },
        { '[mounts]\nsource = "a"\ndestination = "/a"\nauto_extend_size_threshold = 80',
            "1: mounts[0].auto_extend_size_increment: must be from 1GB to 100GB" },
        { '[mounts]\nsource = "a"\ndestination = "/a"\nauto_extend_size_limit = "0.5gb"\n'
            .. 'auto_extend_size_increment = "1GB"\nauto_extend_size_threshold = 80',
            "4: mounts[0].auto_extend_size_limit: must be 1GB or more" },
        { '[[restart]]\npolicy = "often"',
            "2: restart[0].policy: 'often' is not one of always, never, on-failure" },
        { '[build]\ncompression = "zip"', "2: build.compression: 'zip' is not one of gzip, zstd" },
        { '[build]\ncompression_level = 10', "2: build.compression_level: must be from 0 to 9" },
        { '[[vm]]\nsize = "huge"', "1: vm[0]: unknown size 'huge'; known sizes: shared-cpu-1x, "
            .. "shared-cpu-2x, shared-cpu-4x, shared-cpu-6x, shared-cpu-8x, performance-1x, "
            .. "performance-2x, performance-4x, performance-6x, performance-8x, performance-10x, "
            .. "performance-12x, performance-14x, performance-16x" },
        { '[[vm]]\nmemory = "4gb"', "1: vm[0]: memory 4096 MB: with 1 shared CPU it must be 256 to "
            .. "2048 MB, in steps of 256" },
        { '[[vm]]\ngpu_kind = "a10"', "1: vm[0]: GPUs are no longer offered" },
        { '[[vm]]\nsize = "a10"', "1: vm[0]: GPUs are no longer offered" },
        { "[build.compose]", "1: build.compose: dgrun does not read compose files; describe the "
            .. "containers in machine_config" },
        { "[checks]\na = 1", "2: checks.a: must be a table, not 1" },
        { 'kill_timeout = "-5s"', "1: kill_timeout: -5s is negative" },
        { "swap_size_mb = 9007199254740993", "1: swap_size_mb: is too large to be kept exactly" },
        { "env = 'x'", "1: env: must be a table" },
        { "app = 'x'\n[[services]]\n[[services.http_checks]]\nheaders = [{ value = 'x' }]",
            "4: services[0].http_checks[0].headers: entry 1 must have a name and a value" },
        { '[[files]]\nguest_path = "a"\nraw_value = "x"',
            "1: files[0]: guest_path must be an absolute path" },
        { '[[machine_checks]]\nimage = "a"', "1: machine_checks[0]: needs a command" },
        { '[restart]\npolicy = "always"', "1: restart: must be an array of tables ([[…]])" },
    } do
        it(case[2]:sub(1, 60), function()
            assert.same({ "fly.toml:" .. case[2] }, problems(case[1]))
        end)
    end
end)

describe("a fly.toml's warnings", function()
    for _, case in ipairs {
        { "htp_service = 1", "1: htp_service: unknown key; it has no effect; did you mean "
            .. "'http_service'?" },
        { "[http_service]\ninternal_port = 1\nforce_http = true",
            "3: http_service.force_http: unknown key; it has no effect; did you mean "
            .. "'force_https'?" },
        { '[build]\nimage = "a"\ndockerfile = "b"',
            "1: build: more than one of image, builder, dockerfile and builtin" },
        { "[[services]]\ninternal_port = 1",
            "1: services[0]: has no ports: it cannot be reached from outside" },
        { "[http_service]\ninternal_port = 1\n[[http_service.checks]]\ninterval = 3000",
            "4: http_service.checks[0].interval: 3µs; Fly allows 1s to 1m and clamps it" },
        { "[deploy]\nmax_unavailable = 1", "2: deploy.max_unavailable: only the strategies rolling "
            .. "and canary use it; name the strategy" },
        { "[env]\nDB_PASSWORD = 'x'", "2: env.DB_PASSWORD: looks like a secret; set it with "
            .. "dgrun's secrets, not in a file" },
        { '[[statics]]\nguest_path = "/a"',
            "1: statics[0]: has no effect without guest_path and url_prefix" },
        { '[[files]]\nguest_path = "/a"\nraw_value = "x"\nsecret_name = "S"',
            "1: files[0]: only secret_name has an effect" },
        { "[http_service]\nInternal_Port = 1", "2: http_service.Internal_Port: is read as "
            .. "'internal_port'; write it so" },
        { "[[VM]]\nsize = 'x'", "1: VM: is ignored in this letter case; write 'vm'" },
        { "[experimental]\nkill_timeout = 5", "2: experimental.kill_timeout: is an old form of "
            .. "kill_timeout at the top" },
        { "[env]\nFLY_X = 'x'", "2: env.FLY_X: names that begin with FLY_ are reserved for Fly" },
    } do
        it(case[2]:sub(1, 60), function()
            assert.same({ "fly.toml:" .. case[2] }, warnings(case[1]))
        end)
    end
end)

---Every key of the schema, with each kind of value that may be wrong for it.
local function keys(shape, path, found)
    for name, inner in pairs(shape.fields or {}) do
        local here = { unpack(path) }
        here[#here + 1] = name
        found[#found + 1] = here
        local below = type(inner) == "table" and (inner.list or inner.map or inner)
        if type(below) == "table" and below.fields then
            here = { unpack(here) }
            here[#here + 1] = inner.list and 1 or (inner.map and "name") or nil
            keys(below, here, found)
        end
    end
    return found
end

describe("any value at any key", function()
    it("is read, or refused with an explanation", function()
        local paths = keys(schema, {}, {})
        assert.is_true(#paths > 150)
        local values = { 1, -1, 1.5, "text", "", true, {}, json.array {}, { 1 }, { a = 1 },
            { {} }, { { a = { 1 } } }, json.null }
        for _, path in ipairs(paths) do
            for _, value in ipairs(values) do
                local data = {}
                local at = data
                for i = 1, #path - 1 do
                    at[path[i]] = {}
                    at = at[path[i]]
                end
                at[path[#path]] = value
                local ok, e = fly_config.load(json.encode(data), "fly.json")
                if not ok then
                    local where = table.concat(path, ".") .. " = " .. json.encode(value)
                    assert.equal("fly.config", e.code, where .. ": " .. tostring(e.msg))
                    assert.matches("^/.*fly.json", e.msg)
                end
            end
        end
    end)
end)
