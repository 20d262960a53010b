local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local given = require "dgrun.project.environment_options"
local project = require "support.project"
local run = require "dgrun.run"
local secret = require "host.secret"

local function look(files, opts)
    local root = project.make(files)
    environment.look_from(root / "scripts", opts)
    return root
end

local function with(body, more)
    local files = { ["scripts/environments.yaml"] = "environments:\n" .. body }
    for name, text in pairs(more or {}) do
        files[name] = text
    end
    return look(files)
end

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return err.object(e)
end

local prod = [[
  prod:
    app: draft-app-prod
    url: https://draft-app-prod.fly.dev
    config: fly.prod.toml
    secrets:
      sources: [env, dotenv: .env.prod]
      required: [DGRUN_TEST_URL, DGRUN_TEST_KEY]
      optional: [DGRUN_TEST_EXTRA]
      literal: { ENV: prod, ACCESS_LOG: "false" }
    crons:
      - name: news-ingestion-cron
        config: fly.cron.toml
        schedule: hourly
        when_running: { wait: 30m, then: skip }
]]

describe("an environment", function()
    it("is read from the scripts/ beside the script or above", function()
        local root = with(prod)
        environment.look_from(root / "scripts")
        assert.equal("draft-app-prod", environment.get("prod").app)
        environment.look_from(root)
        local env = environment.get "prod"
        assert.equal("fly.prod.toml", env.config)
        assert.same({ {
            name = "news-ingestion-cron", config = "fly.cron.toml", schedule = "hourly",
            when_running = { wait = 1800, ["then"] = "skip" },
        } }, env.crons)
    end)

    it("declares how it is migrated, and when its cron machines are created", function()
        with(prod .. [[
      - { name: a, config: a.toml, schedule: daily, create: false }
      - { name: b, config: b.toml, schedule: daily, gate: { input: drafts, command: [sh, ask] } }
    migrations:
      dir: backend
      target: heads
      command: [python, manage.py, migrate]
      env: { STRICT: "1" }
      before_destructive: { command: [sh, backup.sh] }
]])
        local env = environment.get "prod"
        assert.same({ dir = "backend", target = "heads", env = { STRICT = "1" },
            command = { "python", "manage.py", "migrate" },
            before_destructive = { command = { "sh", "backup.sh" } } }, env.migrations)
        assert.is_false(env.crons[2].create)
        assert.same({ input = "drafts", command = { "sh", "ask" } }, env.crons[3].gate)
        assert.equal(env, environment.of_cron(env.crons[3]))
        with(prod)
        assert.same({ dir = ".", env = {} }, environment.get("prod").migrations)
    end)

    it("declares how the local Fly runs its images", function()
        with(prod .. "    sandbox: { python: envs/web }\n")
        local env = environment.get "prod"
        assert.same({ python = "envs/web" }, env.sandbox)
        assert.matches("^/.*/envs/web$", given.sandbox(env).python)
        with(prod .. "    sandbox: { simulate: true }\n")
        assert.same({ simulate = true }, given.sandbox(environment.get "prod"))
        with(prod)
        assert.is_nil(given.sandbox(environment.get "prod"))
    end)

    it("is refused, with the line, when that is not right", function()
        for text, reason in pairs {
            ["migrations: { dir: ../x }"] = "migrations.dir must be a folder in the repository",
            ["migrations: { dir: /x }"] = "migrations.dir must be a folder in the repository",
            ["migrations: { command: alembic upgrade }"] = "must be a list of words",
            ["migrations: { env: { A-B: x } }"] = "is not a valid secret name",
            ["migrations: { before_destructive: {} }"] = "needs the key 'command'",
            ["migrations: { targett: heads }"] = "has no key 'targett'",
            ["sandbox: { simulate: 1 }"] = "must be true or false",
            ["sandbox: { simulat: true }"] = "has no key 'simulat'",
            ["sandbox: { simulate: true, python: x }"] = "a simulated image has no python",
            ["crons: [{ name: a, config: a, schedule: daily, create: 1 }]"]
                = "must be true or false",
            ["crons: [{ name: a, config: a, schedule: daily, gate: {} }]"]
                = "needs a command, an input, or both",
            ["crons: [{ name: a, config: a, schedule: daily, gate: { command: [] } }]"]
                = "must name a program",
        } do
            with("  p:\n    app: a\n    " .. text .. "\n")
            local e = caught(environment.get, "p")
            assert.equal("environment.invalid", e.code)
            assert.matches(reason, e.msg, 1, true)
            assert.matches("environments.yaml:4: ", e.msg, 1, true)
        end
    end)

    it("is refused for a name that could lead an address or a command astray", function()
        for _, app in ipairs { "../other", "a/b", "a?x=1", "A", "a.b", "-a", "..", "a b",
            ("a"):rep(64) } do
            with(('  p:\n    url: https://a.example\n    app: "%s"\n'):format(app))
            local e = caught(environment.get, "p")
            assert.equal("environment.invalid", e.code)
            assert.matches("environments.yaml:4: p.app: '", e.msg, 1, true)
            assert.matches("' is not a valid app name", e.msg, 1, true)
        end
        for _, name in ipairs { "../a", "a/b", "-a", "a b", ".a" } do
            with(("  p:\n    app: a\n    crons:\n    - { name: '%s', config: a, schedule: daily}\n")
                :format(name))
            assert.matches(("yaml:5: p.crons[1].name: '%s' is not a valid name of a cron machine")
                :format(name), caught(environment.get, "p").msg, 1, true)
            with(('  "%s": { app: a }\n'):format(name))
            assert.matches("' is not a valid name of an environment",
                caught(environment.get, "p").msg, 1, true)
        end
    end)

    it("that is unknown is answered with the nearest", function()
        with(prod)
        local e = caught(environment.get, "prd")
        assert.equal("environment.unknown", e.code)
        assert.equal("Did you mean 'prod'?", e.hint)
    end)

    it("has no other fields", function()
        with(prod)
        local env = environment.get "prod"
        assert.equal("Did you mean 'url'?", caught(function() return env.urll end).hint)
        with "  a: { app: x }\n"
        assert.is_nil(environment.get("a").url)
    end)

    it("names all apps of the file", function()
        local root = with "  a: { app: x }\n  b: { app: y }\n  c: { app: x }\n"
        assert.same({ "x", "y" }, environment.apps(root))
        assert.same({}, environment.apps(project.make { ["x"] = "" }))
    end)
end)

describe("environments.yaml", function()
    local function fault(text)
        look { ["scripts/environments.yaml"] = text }
        return caught(environment.get, "prod")
    end

    it("is refused with the line of an unknown key and the nearest known one", function()
        local e = fault((prod:gsub("schedule:", "shedule:"):gsub("^", "environments:\n")))
        assert.equal("environment.invalid", e.code)
        assert.equal(14, e.line)
        assert.matches("scripts/environments.yaml:14: ", e.msg)
        assert.matches("prod.crons%[1%] has no key 'shedule'", e.msg)
        assert.equal("Did you mean 'schedule'?", e.hint)
        assert.equal(7, fault("environments:\n" .. prod:gsub("sources:", "sauces:")).line)
        assert.equal(4, fault("environments: {prod: {app: draft,\n  url:\n    'crons:',\n"
            .. "  crons: {a: 1}}}").line)
    end)

    it("is refused when a value is of the wrong kind", function()
        local head = "environments:\n  prod:\n    app: x\n"
        local secrets = head .. "    secrets:\n      "
        local cases = {
            { "environments:\n  prod:\n    app: 5\n", 3, "must be a string" },
            { "environments:\n  prod:\n    url: x\n", 2, "needs the key 'app'" },
            { "environments:\n  prod: [a]\n", 2, "must be a mapping" },
            { secrets .. "required: KEY\n", 5, "must be a list" },
            { secrets .. "literal: { A: true }\n", 5, "must be a string" },
            { secrets .. "required: [A, A]\n", 5, "declares A twice" },
            { secrets .. "sources: [vault]\n", 5, "must be env or dotenv" },
            { head .. "    crons:\n    - { name: a, config: b, schedule: minutely }\n", 5,
                "hourly, daily, weekly or monthly, not 'minutely'" },
            { head .. "    crons:\n    - { name: a, config: b, schedule: daily, optional: x }\n", 5,
                "optional must be true or false" },
            { head .. "    crons:\n    - { name: a, config: b, schedule: daily }\n"
                .. "    - { name: a, config: c, schedule: daily }\n", 6,
                "another cron machine is named 'a'" },
        }
        for _, case in ipairs(cases) do
            local e = fault(case[1])
            assert.equal("environment.invalid", e.code)
            assert.equal(case[2], e.line)
            assert.matches(case[3], e.msg)
        end
    end)

    it("helps who writes a schedule as a cron expression", function()
        local e = fault('environments:\n  prod:\n    app: x\n    crons:\n      - name: a\n'
            .. '        config: b\n        schedule: "0 * * * *"\n        optional: true\n')
        assert.equal("environment.invalid", e.code)
        assert.equal(7, e.line)
        assert.matches("crons%[1%].schedule must be hourly, .*, not '0 %* %* %* %*'", e.msg)
        assert.matches("a cron expression, .* Write hourly", e.hint)
    end)

    it("is refused with line and column when it is no YAML", function()
        local e = fault "environments:\n  prod: [a\n"
        assert.equal("yaml.syntax", e.code)
        assert.is_number(e.line)
    end)

    it("that is missing is said", function()
        look { ["scripts/x.lua"] = "" }
        assert.equal("environment.not_found", caught(environment.get, "prod").code)
    end)
end)

describe("the secrets of an environment", function()
    local dotenv = "DGRUN_TEST_URL=postgres://u:correct-horse@db/x\n"
        .. "DGRUN_TEST_KEY='battery staple'\n"

    it("come from the first source that has them; literal ones are strings", function()
        with(prod, { [".env.prod"] = dotenv })
        local env = environment.get "prod"
        assert.is_true(secret.is(env.secrets.DGRUN_TEST_KEY))
        assert.equal("secret(DGRUN_TEST_KEY)", tostring(env.secrets.DGRUN_TEST_KEY))
        assert.equal("false", env.secrets.ACCESS_LOG)
        assert.is_nil(env.secrets.DGRUN_TEST_EXTRA)
        local names = {}
        for name in pairs(env.secrets) do
            names[#names + 1] = name
        end
        table.sort(names)
        assert.same({ "ACCESS_LOG", "DGRUN_TEST_KEY", "DGRUN_TEST_URL", "ENV" }, names)
    end)

    it("are not looked up before they are used", function()
        with(prod)
        assert.equal("prod", environment.get("prod").name)
    end)

    it("that are not declared are answered with the nearest", function()
        with(prod, { [".env.prod"] = dotenv })
        local env = environment.get "prod"
        local e = caught(function() return env.secrets.DGRUN_TEST_KEYS end)
        assert.equal("secrets.undeclared", e.code)
        assert.equal("Did you mean 'DGRUN_TEST_KEY'?", e.hint)
    end)

    it("that are missing are all named, with the places that were looked at", function()
        with(prod .. [[
  stage:
    app: s
    secrets: { sources: [env], required: [DGRUN_TEST_STAGE] }
]], { [".env.prod"] = "DGRUN_TEST_KEY=\n" })
        environment.get "prod"
        environment.get "stage"
        local e = caught(environment.resolve_all)
        assert.equal("secrets.missing", e.code)
        assert.same({ "DGRUN_TEST_URL", "DGRUN_TEST_KEY", "DGRUN_TEST_STAGE" }, e.names)
        assert.matches("the environment and then .env.prod", e.msg)
    end)

    it("name a dotenv file that is not there", function()
        with(prod)
        environment.get "prod"
        assert.matches("%.env%.prod %(no such file%)", caught(environment.resolve_all).msg)
    end)

    it("are looked up at once when a run asks for the environment", function()
        with(prod)
        local r = run.execute({ name = "t", root = "/nowhere", journal = false }, function()
            environment.get "prod"
        end)
        assert.equal("secrets.missing", r.error.code)
    end)

    it("are not needed where nothing will run", function()
        look({ ["scripts/environments.yaml"] = "environments:\n" .. prod }, { names_only = true })
        local env = environment.get "prod"
        assert.is_true(require("dgrun.run.effect").is_unknown(env.secrets.DGRUN_TEST_KEY))
        assert.equal("secrets.undeclared", caught(function() return env.secrets.X end).code)
    end)
end)

describe("a template", function()
    local head = "environments:\n  prod: { app: shop-prod }\ntemplates:\n  review:\n"
    local review = head .. [[
    app: shop-pr-{pr}
    url: https://shop-pr-{pr}.fly.dev
    config: fly.toml
    secrets:
      sources: [env]
      required: [DGRUN_TEST_REVIEW_KEY]
      private: [DGRUN_TEST_SERVER]
      literal: { PUBLIC_URL: "https://shop-pr-{pr}.fly.dev/" }
]]

    local function read(text)
        return look { ["scripts/environments.yaml"] = text }
    end

    it("gives an environment for each pull request", function()
        read(review)
        local env = environment.of_template("review", 12)
        assert.equal("shop-pr-12", env.app)
        assert.equal("https://shop-pr-12.fly.dev", env.url)
        assert.equal("fly.toml", env.config)
        assert.equal(12, env.pr)
        assert.equal("personal", env.org)
        assert.equal("review 12", env.name)
        -- It is no environment by itself.
        assert.same({ "prod" }, environment.names())
        assert.equal("environment.unknown", caught(environment.get, "review").code)
        assert.equal("Did you mean 'review'?", caught(environment.of_template, "reviews", 1).hint)
        for _, pr in ipairs { 0, -1, 1.5, 10 ^ 7, "12", "1; rm" } do
            assert.equal("input.invalid", caught(environment.of_template, "review", pr).code)
        end
    end)

    it("has secrets for the app, and private ones", function()
        require("host.proc").export("DGRUN_TEST_REVIEW_KEY", "for-the-app")
        read(review)
        local missing = caught(environment.complete,
            environment.of_template("review", 12).secrets)
        assert.same({ "DGRUN_TEST_SERVER" }, missing.names)
        require("host.proc").export("DGRUN_TEST_SERVER", "for-the-pipeline")
        local env = environment.of_template("review", 12)
        local names = {}
        for name, value in pairs(environment.complete(env.secrets)) do
            names[name] = type(value) == "string" and value or "sealed"
        end
        assert.same({ DGRUN_TEST_REVIEW_KEY = "sealed",
            PUBLIC_URL = "https://shop-pr-12.fly.dev/" }, names)
        assert.equal(secret.new("x", "for-the-pipeline"), env.secrets.DGRUN_TEST_SERVER)
        require("host.proc").export("DGRUN_TEST_REVIEW_KEY", nil)
    end)

    it("gives a private secret although others are missing", function()
        read(review:gsub("TEST_REVIEW_KEY", "TEST_NOT_THERE"):gsub("TEST_SERVER", "TEST_SERVER2"))
        require("host.proc").export("DGRUN_TEST_SERVER2", "for-the-pipeline")
        local env = environment.of_template("review", 12, { lazy = true })
        assert.equal(secret.new("x", "for-the-pipeline"), env.secrets.DGRUN_TEST_SERVER2)
        assert.same({ "DGRUN_TEST_NOT_THERE" }, caught(environment.complete, env.secrets).names)
    end)

    it("is refused when its pattern could be taken for something else", function()
        local long = ("x"):rep(57)
        for text, app in pairs {
            ["must contain {pr} once"] = { "shop-pr", "a-{pr}-{pr}", "shop-{branch}" },
            ["is not a valid app pattern"] = { "Shop-{pr}", "shop_{pr}", "-shop-{pr}",
                "shop-{pr}-", "shop {pr}", "{pr}-shop" },
            ["at least 4 characters"] = { "pr-{pr}" },
            ["is too long"] = { long .. "{pr}" },
        } do
            for _, pattern in ipairs(app) do
                read(head .. ("    app: %q\n"):format(pattern))
                local e = caught(environment.template, "review")
                assert.equal("environment.invalid", e.code)
                assert.equal(5, e.line)
                assert.matches(text, e.msg, 1, true)
            end
        end
        read "environments:\n  a: { app: shop-pr-7 }\ntemplates:\n  b: { app: 'shop-pr-{pr}' }\n"
        assert.matches("would match shop-pr-7, the app of environment a",
            caught(environment.template, "b").msg, 1, true)
        read(head:gsub("review", "prod") .. "    app: 'shop-pr-{pr}'\n")
        assert.matches("the same name as an environment", caught(environment.template, "prod").msg)
    end)

    it("is as strict as an environment", function()
        for text, line in pairs {
            ["has no key 'ap'"] = "    ap: x\n    app: 'shop-pr-{pr}'\n",
            ["must contain {pr}, so that each"] = "    app: 'shop-pr-{pr}'\n    url: "
                .. "https://shop.fly.dev\n",
            ["contains {branch}"] = "    app: 'shop-pr-{pr}'\n    secrets:\n"
                .. "      literal: { A: '{branch}' }\n",
            ["org must be a string"] = "    app: 'shop-pr-{pr}'\n    org: 7\n",
            ["declares A twice"] = "    app: 'shop-pr-{pr}'\n    secrets:\n"
                .. "      required: [A]\n      private: [A]\n",
        } do
            read(head .. line)
            local e = caught(environment.template, "review")
            assert.equal("environment.invalid", e.code)
            assert.matches(text, e.msg, 1, true)
        end
        read "environments:\n  a: { app: 'shop-pr-{pr}' }\n"
        local e = caught(environment.get, "a")
        assert.matches("not a pattern", e.msg)
        assert.matches("under the key templates", e.hint)
        read "environments:\n  a: { app: x }\ntemplates: [b]\n"
        assert.matches("must map names", caught(environment.get, "a").msg)
    end)

    it("knows the number of an app", function()
        local number = require("dgrun.project.environment_template").number
        assert.equal(12, number("shop-pr-{pr}", "shop-pr-12"))
        assert.equal(7, number("shop-{pr}-web", "shop-7-web"))
        for _, app in ipairs { "shop-pr-", "shop-pr-012", "shop-pr-1a", "shop-pr-0", "shop-pr",
            "shop-prod", "my-shop-pr-1", "shop-pr-1-2", "shop-pr-12345678" } do
            assert.is_nil(number("shop-pr-{pr}", app), app)
        end
        assert.is_nil(number("shop-{pr}-web", "shop-web"))
        assert.is_nil(number("shop-1{pr}1", "shop-11"))
    end)
end)
