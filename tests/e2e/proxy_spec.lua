-- Nothing that is meant for the local Fly, or for this machine, reaches a proxy of the environment.
local fs = require "host.fs"
local local_fly = require "support.local_fly"
local proc = require "host.proc"
local sample = require "support.sample"
local task = require "dgrun.core.task"

---A proxy that writes down what reaches it.
local function listener()
    local dir = assert(fs.temp_dir "listener")
    local child = assert(proc.spawn { argv = { "/usr/bin/python3",
        fs.absolute "tests/support/listener.py", dir / "seen" } })
    task.defer(function()
        child:stop()
        fs.remove(dir, { recursive = true })
    end)
    local address = ("127.0.0.1:%s"):format(assert(child:read()).line)
    local env = {}
    for name, scheme in pairs { http_proxy = "http", https_proxy = "http",
        all_proxy = "socks5h" } do
        env[name] = ("%s://%s"):format(scheme, address)
        env[name:upper()] = env[name]
    end
    return env, function()
        return fs.read(dir / "seen", { limit = 2 ^ 24 }) or ""
    end
end

describe("a proxy of the environment", function()
    it("sees what goes to another machine", function()
        local env, seen = listener()
        local project = sample.new()
        for _, url in ipairs { "http://app.invalid/one", "https://app.invalid/two" } do
            project:run({ "-e", ("require('dgrun').http.get('%s', { timeout = 5 })"):format(url) },
                { env = env })
        end
        assert.matches("GET http://app.invalid/one", seen(), 1, true)
        assert.matches("CONNECT app.invalid:443", seen(), 1, true)
    end)

    it("sees nothing of --sandbox", function()
        local env, seen = listener()
        local project = sample.new()
        local function run(...)
            local result = project:run({ "--sandbox", ... }, { env = env,
                stdin = "a-value-that-no-proxy-sees" })
            assert.equal(0, result.status, result.all)
            assert.equal("", seen(), table.concat({ ... }, " "))
        end
        run("stage_deploy", "--image", project:image("one", nil, "draft-app"))
        run("secrets", "set", "stage", "--stdin", "SECRET_KEY")
        run("logs", "stage")
        run("exec", "stage", "--", "true")
        for _, no_proxy in ipairs { "", "elsewhere.example" } do
            env.no_proxy, env.NO_PROXY = no_proxy, no_proxy
            run("plan", "stage_deploy")
            run("status", "stage")
        end
    end)

    it("sees nothing of a local Fly that the environment names", function()
        local env, seen = listener()
        local fly = local_fly.start()
        for name, value in pairs(env) do
            fly.env[name] = value
        end
        for _, address in ipairs { fly.url, (fly.url:gsub("127%.0%.0%.1", "localhost")) } do
            for _, name in ipairs { "FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL",
                "FLY_UIEX_BASE_URL" } do
                fly.env[name] = address
            end
            for _, argv in ipairs { { "machines", "prod" }, { "logs", "prod" },
                { "releases", "prod" }, { "secrets", "list", "prod" } } do
                local result = fly:run(argv)
                assert.equal(0, result.status, result.all)
            end
        end
        assert.equal("", seen())
    end)
end)
