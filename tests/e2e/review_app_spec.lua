-- An app for each pull request, as CI runs it: real git, real Alembic, the local Fly.
local background = require "support.background"
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local json = require "dgrun.core.json"
local postgres = require "support.postgres"
local proc = require "host.proc"
local sample = require "support.sample"
local task = require "dgrun.core.task"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local NEWEST = "9caf00c0de09"

local function words(action, ...)
    return { "--sandbox", "review_app", action, ... }
end

local function run(project, env, ...)
    local result = project:run(words(...), { env = env })
    assert.equal(0, result.status, result.all)
    return result
end

---The apps that are there beside those of the environments, as `list` tells.
local function listed(project)
    local apps = json.decode(run(project, nil, "list", "--json").stdout)
    local texts = {}
    for i, app in ipairs(apps) do
        texts[i] = ("%s %s %d"):format(app.app, app.state, app.machines)
    end
    table.sort(texts)
    return texts
end

---What a plan says is what there is to do, and nothing is changed by it.
local function planned(project, ...)
    local before = project:snapshot()
    local plan = project:run { "--sandbox", "plan", "review_app", ... }
    assert.equal(0, plan.status, plan.all)
    assert.equal(before, project:snapshot())
    return plan.stdout
end

local function make_older(project, app, days)
    local path = ".dgrun/sandbox/state.json"
    background.stop(project.dir)
    local state = json.decode(assert(project:read(path)))
    for _, release in ipairs(state.apps[app].releases) do
        release.created_at = require("host.time").iso(require("host.time").wall() - days * 86400)
    end
    project:write(path, json.encode(state))
end

describe("a review app", function()
    it("comes with a pull request, follows its pushes, and goes with it", function()
        local project = sample.new()
        local output = project.dir / "output.txt"
        local env = { GITHUB_OUTPUT = output }
        assert.matches("Plan: 8 to create, 1 to run.", planned(project, "deploy", "--pr", "12",
            "--ref", "v1.1.0"), 1, true)
        local first = run(project, env, "deploy", "--pr", "12", "--ref", "v1.1.0")
        assert.matches("8 created, 1 run", first.stdout, 1, true)
        assert.matches("\nurl +https://draft%-app%-pr%-12%.fly%.dev", first.stdout)
        assert.equal("app=draft-app-pr-12\nurl=https://draft-app-pr-12.fly.dev\n", fs.read(output))
        assert.matches("Nothing changed", run(project, nil, "deploy", "--pr", "12", "--ref",
            "v1.1.0").stdout)
        assert.matches("No changes", planned(project, "deploy", "--pr", "12", "--ref", "v1.1.0"))
        project:with_fly(function(call)
            local _, ips = call("GET", "/v1/apps/draft-app-pr-12/ip_assignments")
            assert.equal(2, #ips.ips)
            local _, secrets = call("GET", "/v1/apps/draft-app-pr-12/secrets")
            local names = {}
            for i, secret in ipairs(secrets.secrets) do
                names[i] = secret.name
            end
            -- What is private stays with the pipeline.
            assert.same({ "ACCESS_LOG", "DATABASE_URL", "DGRUN_REVIEW", "ENV", "LOG_LEVEL",
                "SECRET_KEY" }, names)
        end)

        local push = run(project, nil, "deploy", "--pr", "12", "--ref", "main")
        assert.matches("update machine", push.stdout)
        assert.is_nil(push.stdout:find("create app", 1, true))
        assert.equal(NEWEST, project:query("draft-app-pr-12.db",
            "SELECT version_num FROM alembic_version")[1].version_num)
        assert.same({ "draft-app-pr-12 deployed 1" }, listed(project))
        assert.matches("APP +STATE +COMMIT +DEPLOYED +URL\ndraft%-app%-pr%-12 +deployed",
            run(project, nil, "list").stdout)

        assert.matches("Plan: 2 to destroy", planned(project, "destroy", "--pr", "12"))
        assert.matches("2 destroyed", run(project, nil, "destroy", "--pr", "12").stdout)
        assert.same({}, listed(project))
        assert.is_false(fs.exists(project.dir / "draft-app-pr-12.db"))
        assert.matches("Nothing changed", run(project, nil, "destroy", "--pr", "12").stdout)
    end)

    it("is refused what is not right, before anything is changed", function()
        local project = sample.new()
        for text, arguments in pairs {
            ["--pr is required"] = { "deploy" },
            ["not a pull request number"] = { "deploy", "--pr", "0" },
            ["--pr must be a whole number, not '1;x'"] = { "destroy", "--pr", "1;x" },
            ["Use --older 7d, --open 12,15, or both"] = { "sweep" },
            ["open must be the numbers of open pull requests"] = { "sweep", "--open", "$(all)" },
            ["has no action 'remove'"] = { "remove" },
        } do
            local result = project:run(words(unpack(arguments)))
            assert.equal(2, result.status, result.all)
            assert.matches(text, result.stderr, 1, true)
            assert.is_nil(result.all:find "traceback")
        end
        -- Somebody has an app of this name.
        project:with_fly(function(call)
            call("POST", "/v1/apps", { name = "draft-app-pr-7", org_slug = "personal" })
            call("POST", "/v1/apps/draft-app-pr-7/secrets/KEY", { value = "x" })
        end)
        for _, action in ipairs { "deploy", "destroy" } do
            local result = project:run(words(action, "--pr", "7"))
            assert.equal(3, result.status, result.all)
            assert.matches("dgrun did not create it for a pull request", result.stderr)
        end
        assert.matches("unchanged because they have no dgrun mark: draft%-app%-pr%-7",
            run(project, nil, "sweep", "--open", "none").stderr)
        assert.same({ "draft-app-pr-7 foreign 0" }, listed(project))
    end)
end)

---The schemas of review apps, with the revision that each database is at.
local function schemas(server)
    local connection = assert(require("host.postgres").connect { url = server.url })
    local rows = assert(connection:query [[SELECT nspname AS name FROM pg_namespace
        WHERE nspname LIKE 'draft_app_pr_%' ORDER BY 1]])
    local found = {}
    for i, row in ipairs(rows) do
        local revision = connection:query(("SELECT version_num FROM %s.alembic_version"):format(
            row.name))
        found[i] = ("%s at %s"):format(row.name, revision and revision[1].version_num or "nothing")
    end
    connection:close()
    return found
end

---An image whose machines only seem to run: for tests of what is around them.
local function simulated(project)
    return project:image("simulated", {})
end

local function with_postgres(body)
    local server = postgres.start { password = "server-word" }
    local project = sample.new()
    assert(fs.mkdir(project.dir / "tmp")) -- who is killed leaves its temporary folder
    body(project, server, {
        REVIEW_DATABASES = server.url:gsub("^postgresql", "postgresql+asyncpg"),
        TMPDIR = project.dir / "tmp",
    })
end

describe("review apps with schemas in a PostgreSQL", function()
    it("have one each, and are swept with them", function()
        with_postgres(function(project, server, env)
            local seen = run(project, env, "deploy", "--pr", "7", "--ref", "v1.2.0").all
            for _, pr in ipairs { "12", "15" } do
                seen = seen .. run(project, env, "deploy", "--pr", pr, "--image",
                    simulated(project)).all
            end
            assert.same({ "draft_app_pr_12 at nothing", "draft_app_pr_15 at nothing",
                "draft_app_pr_7 at " .. NEWEST }, schemas(server))
            assert.is_nil(seen:find("server-word", 1, true))
            make_older(project, "draft-app-pr-7", 8)
            make_older(project, "draft-app-pr-12", 8)
            assert.matches("draft%-app%-pr%-7 +deployed +%x+ +8d ago",
                run(project, env, "list", "--older", "7d").stdout)
            run(project, env, "sweep", "--older", "7d", "--open", "12")
            assert.same({ "draft-app-pr-12 deployed 1", "draft-app-pr-15 deployed 1" },
                listed(project))
            run(project, env, "sweep", "--older", "7d")
            assert.same({ "draft_app_pr_15 at nothing" }, schemas(server))
            run(project, env, "sweep", "--open", "none")
            assert.same({}, schemas(server))
            assert.same({}, listed(project))
        end)
    end)
end)

---Runs an action that is killed at its line with `text`, before what it announces, or after that.
---@param when "at"|"after"
local function killed(project, env, when, text, action, ...)
    local result = assert(proc.run { argv = { binary, fs.absolute "tests/support/killed_at.lua",
        "--", when, text, unpack(words(action, ...)) }, cwd = project.dir, env = env })
    assert.equal(9, result.signal, result.stdout .. result.stderr)
end

---Until the processes that work below the project have ended.
local function wait_for_no_process(project)
    local function is_ours(pid)
        local cwd = pid:match("^%d+$") and fs.real("/proc/" .. pid .. "/cwd")
        return cwd and cwd:sub(1, #project.dir) == project.dir
    end
    task.timeout(30, function()
        local found
        repeat
            found = false
            for _, pid in ipairs(fs.list "/proc") do
                found = found or is_ours(pid)
            end
            task.sleep(found and 0.02 or 0)
        until not found
    end)
end

describe("a review app whose run is killed", function()
    full_it("is brought up, and destroyed, by the next one or by resume", function()
        with_postgres(function(project, server, env)
            local deploy = { "deploy", "--pr", "12", "--image", simulated(project) }
            local destroy = { "destroy", "--pr", "12" }
            for i, text in ipairs { "create app", "create schema", "set ACCESS_LOG",
                "create a machine of group app" } do
                killed(project, env, i % 2 == 0 and "at" or "after", text, unpack(deploy))
                wait_for_no_process(project)
                local again = i % 2 == 0 and words(unpack(deploy)) or { "resume" }
                local result = project:run(again, { env = env })
                assert.equal(0, result.status, result.all)
                assert.same({ "draft_app_pr_12 at nothing" }, schemas(server), text)
                assert.same({ "draft-app-pr-12 deployed 1" }, listed(project))
                assert.matches("Nothing changed", run(project, env, unpack(deploy)).stdout)

                killed(project, env, "at", i % 2 == 0 and "drop schema" or "destroy app",
                    unpack(destroy))
                wait_for_no_process(project)
                result = project:run(i % 3 == 0 and { "resume" } or words(unpack(destroy)),
                    { env = env })
                assert.equal(0, result.status, result.all)
                assert.same({}, schemas(server), text)
                assert.same({}, listed(project))
            end
        end)
    end)
end)
