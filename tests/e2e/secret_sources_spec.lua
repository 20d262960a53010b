-- Where secrets come from and what they must be, in whole runs of the sample application.
local fs = require "host.fs"
local proc = require "host.proc"
local sample = require "support.sample"

local canaries = {
    SECRET_KEY = "canary-key-7Qe2-of-this-test", GEMINI_API_KEY = "canary-gemini-b41x",
    OTHER = "canary-of-no-interest",
}

---No file of the run, and nothing it said, holds a canary.
local function clean(project, run)
    local function search(dir)
        for _, name in ipairs(fs.list(dir) or {}) do
            local path = dir / name
            if fs.stat(path).type == "directory" then
                search(path)
            else
                local text = fs.read(path, { limit = 2 ^ 26 }) or ""
                for _, canary in pairs(canaries) do
                    assert.is_nil(text:find(canary, 1, true), path)
                end
            end
        end
    end
    search(project.dir / ".dgrun")
    for _, canary in pairs(canaries) do
        assert.is_nil(run.all:find(canary, 1, true), run.all)
    end
end

---Replaces the sources of production.
local function source(project, line)
    local text = project:read "scripts/environments.yaml"
    local changed, count = text:gsub("sources: %[env, dotenv: %.env%.prod%]", "sources: " .. line)
    assert.equal(1, count)
    project:write("scripts/environments.yaml", changed)
end

local function dotenv(project)
    local lines = { ("DATABASE_URL=sqlite+aiosqlite:///%s/prod.db"):format(project.dir) }
    for name, value in pairs(canaries) do
        lines[#lines + 1] = ("%s='%s'"):format(name, value)
    end
    return table.concat(lines, "\n") .. "\n"
end

---What is on the app of production.
local function names_on_fly(project)
    local names = {}
    project:with_fly(function(call)
        local _, list = call("GET", "/v1/apps/draft-app-prod/secrets")
        for i, one in ipairs(list.secrets) do
            names[i] = one.name
        end
    end)
    table.sort(names)
    return names
end

local deployed = { "ACCESS_LOG", "DATABASE_URL", "ENV", "GEMINI_API_KEY", "LOG_LEVEL",
    "SECRET_KEY" }

describe("secrets of a deploy", function()
    it("come from an age-encrypted file", function()
        local project = sample.new()
        fs.remove(project.dir / ".env.prod")
        source(project, "[env, { age: .env.prod.age, identity: ../identity.txt }]")
        local outside = assert(fs.temp_dir "identity")
        require("dgrun.core.task").defer(function() fs.remove(outside, { recursive = true }) end)
        local key = assert(proc.run { argv = { "age-keygen" } })
        assert(proc.run { stdin = dotenv(project), argv = { "age", "-r",
            key.stdout:match "public key: (%S+)", "-o", project.dir / ".env.prod.age" } })
        local env = { AGE_IDENTITY = key.stdout, DGRUN_DEBUG = "1" }

        local run = project:run({ "--sandbox", "plan", "prod_deploy", "--ref", "v1.2.0" },
            { env = env })
        assert.equal(3, run.status, run.all)
        assert.matches("cannot read .env.prod.age: the identity file ../identity.txt "
            .. "does not exist",
            run.stderr, 1, true)

        project:write("scripts/environments.yaml", (project:read("scripts/environments.yaml")
            :gsub(", identity: %.%./identity%.txt", "")))
        run = project:run({ "--sandbox", "plan", "prod_deploy", "--ref", "v1.2.0" }, { env = env })
        assert.equal(0, run.status, run.all)
        assert.matches("set ACCESS_LOG, DATABASE_URL, ENV, GEMINI_API_KEY", run.stdout)
        clean(project, run)
        run = project:run({ "--sandbox", "prod_deploy", "--ref", "v1.2.0", "--image",
            project:image "one" }, { env = env })
        assert.equal(0, run.status, run.all)
        clean(project, run)
        assert.is_nil(run.all:find("AGE-SECRET-KEY", 1, true))
        assert.same(deployed, names_on_fly(project))
    end)

    it("come from a command, which may fail", function()
        local project = sample.new()
        fs.remove(project.dir / ".env.prod")
        source(project, "[env, { command: [../op, item, get, draft-prod, --format, json], "
            .. "at: fields }]")
        local bin = assert(fs.temp_dir "op")
        require("dgrun.core.task").defer(function() fs.remove(bin, { recursive = true }) end)
        local function op(script)
            assert(fs.write(bin / "op", "#!/bin/sh\n" .. script, { mode = "0755" }))
        end
        project:write("scripts/environments.yaml", (project:read("scripts/environments.yaml")
            :gsub("%.%./op", bin / "op")))
        op("echo '[ERROR] you are not currently signed in' >&2\necho " .. canaries.OTHER
            .. "\nexit 1\n")
        local run = project:run({ "--sandbox", "prod_deploy", "--ref", "v1.2.0" },
            { env = { DGRUN_DEBUG = "1" } })
        assert.equal(3, run.status, run.all)
        assert.matches("op exited with status 1: [ERROR] you are not currently signed in",
            run.stderr, 1, true)
        assert.matches("nothing was changed", run.stderr)
        assert.matches("dgrun secrets where prod shows what each source has", run.stderr, 1, true)
        clean(project, run)

        op(([[cat <<'END'
{"id": "x", "title": "%s", "fields": [
  {"id": "1", "label": "DATABASE_URL", "value": "sqlite+aiosqlite:///%s/prod.db"},
  {"id": "2", "label": "SECRET_KEY", "type": "CONCEALED", "value": "%s"},
  {"id": "3", "label": "GEMINI_API_KEY", "value": "%s"},
  {"id": "4", "label": "notesPlain", "value": "%s"}]}
END
]]):format(canaries.OTHER, project.dir, canaries.SECRET_KEY, canaries.GEMINI_API_KEY,
            canaries.OTHER))
        run = project:run({ "--sandbox", "prod_deploy", "--ref", "v1.2.0", "--image",
            project:image "one" }, { env = { DGRUN_DEBUG = "1" } })
        assert.equal(0, run.status, run.all)
        clean(project, run)
        assert.same(deployed, names_on_fly(project))
    end)

    it("are in memory only where core dumps leave them out", function()
        local project = sample.new()
        local text = ("DATABASE_URL=sqlite+aiosqlite:///x\nSECRET_KEY=%s\n# %s\n"):format(
            canaries.SECRET_KEY, canaries.OTHER)
        project:write(".env.mem", text)
        local key = assert(proc.run { argv = { "age-keygen" } })
        project:write("key.txt", key.stdout)
        assert(proc.run { stdin = text, argv = { "age", "-r",
            key.stdout:match "public key: (%S+)", "-o", project.dir / ".env.mem.age" } })
        project:write("fields.json", ([[[{"name": "SECRET_KEY", "value": "%s"}, {"name": "OTHER",
            "value": "%s"}, {"name": "DATABASE_URL", "value": "sqlite+aiosqlite:///x"}] ]]):format(
                canaries.SECRET_KEY, canaries.OTHER))
        project:write("scripts/memory.lua", [[
            local env = require("dgrun").environment "prod"
            assert(env.secrets.SECRET_KEY)
            local mappings, last = {}, nil
            for line in io.lines "/proc/self/smaps" do
                local from, to, readable, name =
                    line:match "^(%x+)%-(%x+) (r?)%S+ %S+ %S+ %S+%s*(.*)"
                if from then
                    last = { from = tonumber(from, 16), to = tonumber(to, 16), name = name,
                        read = readable == "r" and not name:find "^%[v" }
                    mappings[#mappings + 1] = last
                elseif line:find "^VmFlags:.* dd" then
                    last.read = false
                end
            end
            local memory, searched = io.open("/proc/self/mem", "rb"), 0
            for _, mapping in ipairs(mappings) do
                local size = mapping.to - mapping.from
                if mapping.read and size < 2 ^ 28 and memory:seek("set", mapping.from) then
                    local bytes = memory:read(size) or ""
                    searched = searched + #bytes
                    if bytes:find "canary[-]key" or bytes:find "canary[-]of[-]no" then
                        print("found in", mapping.name)
                    end
                end
            end
            print("searched", searched > 2 ^ 20)]])
        local yaml = project:read "scripts/environments.yaml"
        for _, one in ipairs { "dotenv: .env.mem", "{ age: .env.mem.age, identity: key.txt }",
            "command: [cat, fields.json]" } do
            project:write("scripts/environments.yaml", yaml)
            source(project, "[" .. one .. "]")
            -- Only the superuser reads the memory of a process that keeps it to itself.
            local run = project:run({ "memory" }, { env = { DGRUN_CORE = "1" } })
            assert.equal(0, run.status, run.all)
            assert.equal("searched\ttrue\n", run.stdout, one)
        end
    end)

    it("that break the contract stop every environment before the first effect", function()
        local project = sample.new { fresh = true }
        project:write(".env.prod", "DATABASE_URL=postgres://u:" .. canaries.SECRET_KEY
            .. "@db/x\nSECRET_KEY=canary-short\nSECRET_KEE=x\n")
        project:write(".env.stage", "SECRET_KEY=" .. canaries.SECRET_KEY .. "\nno value\n")
        project:write("scripts/environments.yaml", (project:read("scripts/environments.yaml")
            :gsub("ENV: prod,", "ENV: production,")))
        local before = names_on_fly(project)
        for _, plan in ipairs { true, false } do
            local run = project:run { "--sandbox", unpack(plan and { "plan", "cron_setup",
                "--environment", "prod" } or { "cron_setup", "--environment", "prod" }) }
            assert.equal(3, run.status, run.all)
            for _, text in ipairs {
                "'prod' breaks a rule: DATABASE_URL must be a URL of postgresql+asyncpg or "
                    .. "sqlite+aiosqlite (from .env.prod:1); it lacks the driver: "
                    .. "postgresql+asyncpg://",
                "'prod' breaks a rule: ENV must be dev, stage or prod (from a literal)",
                "'prod' breaks a rule: SECRET_KEY must have at least 16 characters (from "
                    .. ".env.prod:2)",
                "'stage' cannot read .env.stage:2: expected '='",
                "'stage' lacks the required secrets DATABASE_URL and SECRET_KEY (looked in the "
                    .. "environment and then .env.stage (cannot be read))",
            } do
                assert.matches(text, run.stderr, 1, true)
            end
            assert.is_nil(run.all:find("canary", 1, true), run.all)
            assert.is_nil(run.all:find("stack traceback", 1, true))
        end
        assert.same(before, names_on_fly(project))
        assert.is_false(fs.exists(project.dir / "prod.db"))
    end)

    it("are what the application requires", function()
        local project = sample.new()
        project:write("scripts/requires.lua", [[
            local dg = require "dgrun"
            local env = dg.environment "prod"
            return dg.pipeline { description = "x", run = function()
                local source = dg.step("Checkout", function()
                    return dg.git.checkout { ref = "main" }
                end)
                return dg.step("Ask", function()
                    return dg.secrets.required_by { dir = source.dir, secrets = env.secrets }
                end)
            end }]])
        local run = project:run { "requires" }
        assert.equal(0, run.status, run.all)
        assert.matches("app.settings:Settings: 3 required settings, all provided", run.all, 1, true)
        project:edit("app/settings.py", "    env: Environment\n",
            "    env: Environment\n    redis_url: str\n    sentry_dsn: str\n")
        run = project:run { "plan", "requires" }
        assert.equal(2, run.status, run.all)
        assert.matches("environment 'prod' does not provide:\n    REDIS_URL\n    SENTRY_DSN",
            run.stderr, 1, true)
        assert.matches("Add them to the required secrets in .*environments.yaml, or set "
            .. "non%-secret values in "
            .. "%[env%]", run.stderr)
    end)
end)
