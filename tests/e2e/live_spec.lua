-- The comparison of the real Fly with the local one, pointed at a local one in place of the real.
local local_fly = require "support.local_fly"
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local proc = require "host.proc"
local scenario = require "live.scenario"
local service = require "live.service"

local root = fs.cwd()

local function run(env)
    local all = { PATH = os.getenv "PATH", HOME = "/nonexistent", TMPDIR = os.getenv "TMPDIR",
        DGRUN_STDLIB = os.getenv "DGRUN_STDLIB",
        -- os.exit leaves what the sanitizer would take for leaks.
        ASAN_OPTIONS = "detect_leaks=0" }
    for name, value in pairs(env) do
        all[name] = value
    end
    return assert(proc.run { argv = { local_fly.binary, "tests/live/run.lua" }, cwd = root,
        clean_env = true, env = all, timeout = 120 })
end

local function lines_of(text)
    local lines = {}
    for line in (text .. "\n"):gmatch "([^\n]*)\n" do
        lines[#lines + 1] = line
    end
    return lines
end

describe("tests/live", function()
    full_it("finds what differs, and leaves nothing", function()
        local fly = local_fly.start()
        fly:register(scenario.IMAGE, scenario.behaviour)
        local env = { DGRUN_LIVE_TOKEN = fly.token, DGRUN_LIVE_APP = "dgrun-live-spec" }
        for name, value in pairs(fly.printed) do
            env[name] = value
        end
        -- Without this one there would be no difference.
        fly:fault { method = "GET", path = "/v1/platform/regions$", status = 418 }
        local result = run(env)
        assert.equal("", result.stderr)
        assert.equal(1, result.status)
        assert.same({ "the regions", "  status: local 200, live 418",
            '  .error: only live, "injected failure"', "  .nearest: only local, string",
            "  .regions: only local, list", "N questions, 4 differences", "" },
            lines_of(result.stdout:gsub("%d+ questions", "N questions")))
        assert.equal(404, (fly:call("GET", "/v1/apps/dgrun-live-spec")))

        -- An app that it did not create stays.
        fly:call("POST", "/v1/apps", { name = "dgrun-live-spec", org_slug = "personal" })
        assert.matches("exists already", run(env).stderr)
        assert.equal(200, (fly:call("GET", "/v1/apps/dgrun-live-spec")))
    end)

    it("says how to run it, without a token or a throwaway name", function()
        for _, env in ipairs { {}, { DGRUN_LIVE_TOKEN = "x" },
            { DGRUN_LIVE_TOKEN = "x", DGRUN_LIVE_APP = "production" } } do
            local result = run(env)
            assert.equal(2, result.status)
            assert.matches("^Set DGRUN_LIVE_TOKEN .* dgrun tests/live/run.lua\n$", result.stderr)
        end
    end)

    it("changes nothing but its own app", function()
        local own = service.new { app = "dgrun-live-a", org = "personal", image = "x" }
        for _, one in ipairs { { "DELETE", "/v1/apps/dgrun-live-a" }, { "DELETE", "/v1/apps/web" },
            { "POST", "/v1/apps", { name = "web" } },
            { "POST", "/api/v1/releases", { app_name = "web" } } } do
            assert.has_error(function() own:ask("x", unpack(one)) end)
        end
        assert.has_error(function() own:graphql("x", "mutation { deleteApp }") end)
        for _, name in ipairs { "web", "dgrun-live-", "dgrun-live-a/../web", "dgrun-live-A" } do
            assert.is_false(service.is_throwaway(name))
        end
    end)
end)
