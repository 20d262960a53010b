local environment = require "dgrun.environment"
local err = require "dgrun.err"
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
                "another cron machine is called 'a'" },
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
        assert.is_true(require("dgrun.effect").is_unknown(env.secrets.DGRUN_TEST_KEY))
        assert.equal("secrets.undeclared", caught(function() return env.secrets.X end).code)
    end)
end)
