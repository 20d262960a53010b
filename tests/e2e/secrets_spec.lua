-- dgrun secrets as people use it, and secrets on their way through a deploy.
local fs = require "host.fs"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local sample = require "support.sample"
local web = require("support.sandbox").web_config
local terminal = require "support.terminal"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local function run(project, argv, stdin)
    local result = assert(proc.run { argv = { binary, "--sandbox", unpack(argv) },
        cwd = project.dir, stdin = stdin, timeout = 120,
        env = { HOME = "/nonexistent", DGRUN_STORE = "" } })
    result.all = result.stdout .. result.stderr
    return result
end

local function good(project, argv, stdin)
    local result = run(project, argv, stdin)
    assert.equal(0, result.status, result.all)
    return result
end

local function data(project, argv, stdin)
    argv[#argv + 1] = "--json"
    return json.decode(good(project, argv, stdin).stdout)
end

---What was asked of the local Fly since the log was emptied: "POST /v1/…". Not that each command
---names its apps.
local function writes(project)
    local list = {}
    for line in (project:read ".dgrun/sandbox/requests.log" or ""):gmatch "[^\n]+" do
        local method, path = line:match "^(%u+) (%S+)"
        if method ~= "GET" and method ~= "HEAD" and path ~= "/sandbox/v1/apps" then
            list[#list + 1] = method .. " " .. path
        end
    end
    return list
end

local function forget(project)
    fs.remove(project.dir / ".dgrun/sandbox/requests.log")
end

local function machines(project)
    local ids = {}
    project:with_fly(function(call)
        local _, list = call("GET", "/v1/apps/draft-app-prod/machines")
        for i, machine in ipairs(list) do
            ids[i] = { id = machine.id, version = machine.config.metadata.dgrun_secrets }
        end
    end)
    return ids
end

local function count(list, wanted)
    local found = 0
    for _, line in ipairs(list) do
        found = found + (line == wanted and 1 or 0)
    end
    return found
end

---Is a text in one of the files that dgrun keeps?
local function kept(dir, text)
    for _, name in ipairs(fs.list(dir) or {}) do
        local path = dir / name
        if fs.stat(path).type == "directory" and kept(path, text) then
            return true
        elseif (fs.read(path, { limit = 2 ^ 26 }) or ""):find(text, 1, true) then
            return true
        end
    end
    return false
end

---An app with its secrets, two machines of a deploy, which serve, and one with a schedule.
local function running()
    local project = sample.new()
    local image = project:image("good")
    project:with_fly(function(call)
        local managed = { fly_platform_version = "v2", fly_process_group = "app" }
        for _, config in ipairs {
            { image = image, metadata = managed, services = web.services },
            { image = image, metadata = managed, services = web.services },
            { image = image, schedule = "hourly" },
        } do
            assert(call("POST", "/v1/apps/draft-app-prod/machines", { config = config }) == 200)
        end
    end)
    project:write("scripts/seed.lua", [[
        local dg = require "dgrun"
        local env = dg.environment "prod"
        dg.secrets.sync { app = env.app, secrets = env.secrets, apply = true }]])
    good(project, { "seed" })
    return project
end

describe("changed secrets", function()
    it("reach each machine once with the deploy that follows", function()
        local project = sample.new()
        local image = project:image("good")
        good(project, { "prod_deploy", "--ref", "v1.2.0", "--image", image })
        local before = machines(project)
        assert.equal(3, #before)
        local text = project:read(".env.prod"):gsub("(SECRET_KEY)=%x+", "%1=quite-another-value")
        project:write(".env.prod", text .. "S3_ACCESS_KEY_ID=a-new-key\n")
        local argv = { "prod_deploy", "--ref", "v1.2.0", "--image", image }
        local plan = good(project, { "plan", unpack(argv) })
        assert.matches("SECRET_KEY: set → changed", plan.stdout, 1, true)
        assert.matches("S3_ACCESS_KEY_ID: set (new)", plan.stdout, 1, true)
        assert.matches("unchanged: ACCESS_LOG, DATABASE_URL, ENV and LOG_LEVEL", plan.stdout, 1,
            true)
        local _, planned = plan.stdout:gsub("~ update machine", "")
        assert.equal(2, planned)
        assert.matches("~ update the cron machine news-ingestion-cron", plan.stdout, 1, true)
        forget(project)
        local result = good(project, argv)
        local list = writes(project)
        for _, machine in ipairs(before) do
            assert.equal(1, count(list, "POST /v1/apps/draft-app-prod/machines/" .. machine.id))
            assert.equal(0, count(list, ("POST /v1/apps/draft-app-prod/machines/%s/restart")
                :format(machine.id)))
        end
        assert.equal(1, count(list, "POST /v1/apps/draft-app-prod/secrets"))
        for _, machine in ipairs(machines(project)) do
            assert.equal("2", machine.version)
        end
        assert.is_nil((plan.all .. result.all):find("quite-another-value", 1, true))
        forget(project)
        assert.matches("Nothing changed", good(project, argv).stdout)
        assert.same({}, writes(project))
    end)

    it("are known again, whatever they look like", function()
        local project = sample.new()
        project:write("scripts/many.lua", [[
            local dg = require "dgrun"
            local values = {}
            for i = 0, 127 do
                values[("N%03d"):format(i)] = require("host.secret").new("N",
                    ("%02x%02x"):format(i, 255 - i))
            end
            local result = dg.secrets.sync { app = "draft-app-prod", secrets = values }
            print(#result.new, #result.unchanged)]])
        assert.matches("^128\t0\n", good(project, { "many" }).stdout)
        assert.equal("0\t128\n", good(project, { "many" }).stdout:match "[^\n]+\n")
    end)
end)

describe("dgrun secrets", function()
    it("lists, compares and tells what a deploy would set, as text and as data", function()
        local project = running()
        local list = data(project, { "secrets", "list", "prod" })
        assert.same({ "draft-app-prod", "prod", 1 }, { list.app, list.environment, list.version })
        local by_name = {}
        for _, one in ipairs(list.secrets) do
            by_name[one.name] = one
        end
        assert.same({ true, "required", true }, { by_name.SECRET_KEY.present,
            by_name.SECRET_KEY.declared, #by_name.SECRET_KEY.digest > 0 })
        assert.same({ false, "optional" }, { by_name.GEMINI_API_KEY.present,
            by_name.GEMINI_API_KEY.declared })
        assert.same({}, list.missing)
        assert.same({}, list.behind)
        assert.same(list, data(project, { "secrets", "--app", "draft-app-prod" }))

        good(project, { "secrets", "set", "prod", "--stage", "--stdin", "BY_HAND" }, "by-hand\n")
        local text = good(project, { "secrets", "prod" }).stdout
        assert.matches("BY_HAND +%x+ +%S+ %S+ +no\n", text)
        assert.matches("3 machines may not have version 2 of the secrets yet", text, 1, true)

        local diff = data(project, { "secrets", "diff", "prod" })
        assert.same({ { "BY_HAND" }, {}, {}, 5 }, { diff.extra, diff.new, diff.changed,
            #diff.unchanged })
        text = good(project, { "secrets", "diff", "stage" }).stdout
        assert.matches("SECRET_KEY +required +new +set it\n", text)

        project:write(".env.stage", (project:read ".env.prod"):gsub("prod%.db", "stage.db"))
        local compared = data(project, { "secrets", "compare", "stage", "prod" })
        assert.same({ "SECRET_KEY" }, compared.mistakes)
        assert.same({ {}, 6, {} }, { compared.present_only.left, #compared.present_only.right,
            compared.declared_only.left })
        text = good(project, { "secrets", "compare", "stage", "prod" }).stdout
        assert.matches("SECRET_KEY +required, not set +required +THE SAME\n", text)
        assert.matches("SECRET_KEY is the same in stage and prod: a session signed", text, 1, true)

        -- Looking is not kept in the history.
        local history = good(project, { "history", "--json" }).stdout
        assert.is_nil(history:find('"secrets"', 1, true) and history:find('"diff"', 1, true))
        local result = run(project, { "secrets", "compare", "prod", "prod" })
        assert.equal(2, result.status)
    end)

    it("sets and removes from files and standard input; machines get it, unless staged", function()
        local project = running()
        project:write("key.pem", "-----BEGIN-----\nabcdef123\n-----END-----\n")
        project:write("plain", "file-value\n")
        project:write("more.env", "A='from the env file'\nLOG_LEVEL=DEBUG\n")
        forget(project)
        local set = data(project, { "secrets", "set", "prod", "--stage", "--file", "PEM=key.pem",
            "--file", "PLAIN=plain", "--from", "more.env", "--stdin", "PIPED" }, "piped-value\n")
        assert.same({ "A", "PEM", "PIPED", "PLAIN" }, set.new)
        assert.same({ "LOG_LEVEL" }, set.changed)
        assert.is_nil(set.machines)
        assert.same({ "POST /v1/apps/draft-app-prod/secrets" }, writes(project))
        assert.is_false(kept(project.dir / ".dgrun", "piped-value"))
        -- The newline at the end of a line is no part of the value, those of a key are.
        project:write("scripts/same.lua", [[
            local dg = require "dgrun"
            local result = dg.secrets.diff { app = "draft-app-prod", secrets = {
                PEM = "-----BEGIN-----\nabcdef123\n-----END-----\n", PLAIN = "file-value",
                A = "from the env file", PIPED = "piped-value" } }
            dg.log(table.concat(result.unchanged, " "))]])
        assert.matches("A PEM PIPED PLAIN", good(project, { "same" }).stderr, 1, true)

        local applied = data(project, { "secrets", "set", "prod" }, "A=other\nLOG_LEVEL=DEBUG\n")
        assert.same({ { "A" }, { "LOG_LEVEL" }, 3 }, { applied.changed, applied.unchanged,
            #applied.machines })
        for _, machine in ipairs(machines(project)) do
            assert.equal("3", machine.version)
        end

        local refused = run(project, { "secrets", "unset", "prod", "SECRET_KEY", "A" })
        assert.equal(3, refused.status)
        assert.matches("SECRET_KEY: the environment of draft-app-prod requires it",
            refused.stderr, 1, true)
        local plan = good(project, { "plan", "secrets", "unset", "prod", "A", "PEM", "--stage" })
        assert.matches("- remove A and PEM from draft-app-prod", plan.stdout, 1, true)
        local text = good(project, { "secrets", "unset", "prod", "A", "PEM", "NONE", "--stage" })
        assert.matches("A +removed\n.*PEM +removed\n.*NONE +was not set\n.*Staged",
            text.stdout)
        local there = {}
        for _, one in ipairs(data(project, { "secrets", "list", "prod" }).secrets) do
            there[one.name] = one.present or nil
        end
        assert.same({ true, nil, nil }, { there.PLAIN, there.A, there.PEM })
    end)

    it("asks at the terminal, and shows nothing of the answer", function()
        local project = running()
        local function at_terminal(steps, argv)
            return terminal.run(steps, { binary, "--sandbox", "secrets", unpack(argv) },
                { cwd = project.dir, env = { HOME = "/nonexistent", DGRUN_STORE = "" } })
        end
        local ask = "SECRET_KEY for draft-app-prod (not shown): "
        forget(project)
        -- Ctrl-C: the terminal is as it was, and nothing is set.
        local result = at_terminal({ { wait = ask }, { type = "typed-in-vain-tonight\n" },
            { wait = "EXTRA for draft-app-prod (not shown): " }, { type = "half\3" } },
            { "set", "prod", "SECRET_KEY", "EXTRA" })
        assert.equal(130, result.status, result.output)
        assert.is_true(result.restored and result.shows)
        assert.same({}, writes(project))

        result = at_terminal({ { wait = ask }, { type = "typed-by-hand-tonight\n" } },
            { "set", "prod", "SECRET_KEY" })
        assert.equal(0, result.status, result.output)
        assert.same({ false, true, true }, { result.during[2], result.restored, result.shows })
        assert.matches("SECRET_KEY +changed", result.output)
        assert.matches("3 machines were updated", result.output, 1, true)
        assert.matches("the next deploy sets the value from the sources of prod", result.output, 1,
            true)
        for _, text in ipairs { "typed-in-vain-tonight", "typed-by-hand-tonight" } do
            assert.is_nil(result.output:find(text, 1, true))
            assert.is_false(kept(project.dir / ".dgrun", text))
        end
        local list = writes(project)
        assert.equal(1, count(list, "POST /v1/apps/draft-app-prod/secrets"))

        forget(project)
        result = at_terminal({ { wait = ask }, { type = "two\nlines\n" } },
            { "set", "prod", "SECRET_KEY" })
        assert.equal(1, result.status)
        assert.matches("more than one line was given", result.output, 1, true)
        assert.matches("Nothing was set", result.output, 1, true)
        result = at_terminal({}, { "set", "prod", "--stdin", "SECRET_KEY" })
        assert.equal(2, result.status)
        result = at_terminal({}, { "set", "prod" })
        assert.matches("no secrets were named", result.output, 1, true)
        assert.same({}, writes(project))
    end)

    it("judges values by the rules of the environment, and tells where they come from", function()
        local project = sample.new()
        local result = run(project, { "secrets", "set", "prod" },
            "DATABASE_URL=postgresql://app@db/x\nSECRET_KEY=sh0rt-value\n")
        assert.equal(2, result.status)
        assert.matches("DATABASE_URL must be a URL of .*; it lacks the driver", result.stderr)
        assert.matches("SECRET_KEY must have at least 16 characters", result.stderr, 1, true)
        assert.is_nil(result.all:find("sh0rt", 1, true))
        assert.same({}, writes(project))
        result = good(project, { "secrets", "set", "prod" }, "SERCET_KEY=a-value\n")
        assert.matches("Did you mean SECRET_KEY instead of SERCET_KEY?", result.stdout, 1, true)

        assert.matches("SECRET_KEY +required +.env.prod:2\n",
            good(project, { "secrets", "where", "prod" }).stdout)
        project:write(".env.prod", "SECRET_KEY=sh0rt\n")
        result = run(project, { "secrets", "where", "prod", "--json" })
        assert.equal(2, result.status)
        assert.is_false(json.decode(result.stdout).ok)
        assert.matches("have problems", result.stderr, 1, true)
        assert.equal(2, run(project, { "secrets", "diff", "prod" }).status)
    end)

    it("takes no value from the command line, and does not repeat it", function()
        local project = sample.new()
        for _, argv in ipairs {
            { "set", "prod", "API_KEY=canary-9173" }, { "set", "API_KEY=canary-9173" },
            { "API_KEY=canary-9173" }, { "set", "prod", "--stage", "API_KEY=canary-9173" },
            { "set", "prod", "--API_KEY=canary-9173" }, { "set", "prod", "-API_KEY=canary-9173" },
            { "set", "prod", "API_KEY", "=", "canary-9173" },
            { "set", "prod", "--stdin", "API_KEY=canary-9173" },
            { "unset", "prod", "API_KEY=canary-9173" }, { "set", "prod", "OTHER", "API_KEY=" },
        } do
            local result = run(project, { "secrets", unpack(argv) })
            assert.equal(2, result.status, result.all)
            assert.matches("not accepted on the command line: API_KEY=…", result.stderr, 1, true)
            assert.matches("your shell's history", result.stderr, 1, true)
            assert.matches("dgrun secrets set ENV API_KEY prompts for it", result.stderr, 1, true)
            assert.is_nil(result.all:find("canary", 1, true), result.all)
            assert.is_nil(result.all:find("traceback", 1, true))
        end
        for _, argv in ipairs {
            { "set", "prod", "canary-9173" }, { "set", "prod", "--file", "API_KEY=canary-9173" },
            { "set", "prod", "--file", "canary-9173" }, { "set", "prod", "--stdin", "canary-9173" },
        } do
            local result = run(project, { "secrets", unpack(argv) }, "")
            assert.equal(2, result.status, result.all)
            assert.is_nil(result.all:find("canary", 1, true), result.all)
            assert.matches("treat it as exposed", result.stderr, 1, true)
        end
        for text, argv in pairs {
            ["cannot prompt for API_KEY"] = { "set", "prod", "API_KEY" },
            ["API_KEY is empty"] = { "set", "prod", "--stdin", "API_KEY" },
            ["standard input contains no NAME=value lines"] = { "set", "prod" },
            ["standard input can be read only once"] = { "set", "prod", "--from", "-", "--stdin",
                "A" },
            ["NAMES is required"] = { "unset", "prod" },
            ["no environment declares the app other-app"] = { "diff", "--app", "other-app" },
        } do
            local result = run(project, { "secrets", unpack(argv) }, "")
            assert.equal(2, result.status, result.all)
            assert.matches(text, result.stderr, 1, true)
        end
        assert.is_false(kept(project.dir / ".dgrun", "canary-9173"))
        assert.same({}, writes(project))
    end)
end)
