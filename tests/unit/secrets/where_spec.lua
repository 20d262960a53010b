local environment = require "dgrun.project.environment"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local project = require "support.project"
local secrets = require "dgrun.secrets"
local task = require "dgrun.core.task"
local ui = require "dgrun.ui.secrets"

local yaml = [[
environments:
  prod:
    app: draft-app-prod
    secrets:
      sources: [env, dotenv: .env.prod, dotenv: .env.none, command: [bin/op] ]
      required:
        W_DB: { url: postgresql+asyncpg }
        W_KEY: { min_length: 16 }
        W_GONE:
        W_ENV: { one_of: [stage, prod] }
      optional: [W_OPTION, W_PIN]
      literal: { W_ENV: prod, W_LEVEL: INFO }
]]

local function make(op)
    local root = project.make {
        ["scripts/environments.yaml"] = yaml,
        [".env.prod"] = "W_DB=postgresql://u:canary-1@h/d\n\nW_KEY='canary-${2}-long-enough'\n"
            .. "W_ENV=stage\nW_OLD=canary-3\nW_PIN=123\n",
    }
    fs.mkdir(root / "bin")
    fs.write(root / "bin/op", "#!/bin/sh\n" .. op, { mode = "0755" })
    proc.export("W_KEY", "canary-of-the-environment")
    task.defer(function() proc.export("W_KEY", nil) end)
    environment.look_from(root / "scripts")
end

local function by_name(data)
    local result = {}
    for _, one in ipairs(data.secrets) do
        result[one.name] = one
    end
    return result
end

describe("secrets.where", function()
    it("tells for each name what gives it, what that hides, and what is wrong", function()
        make [[echo '{"W_DB": "canary-4", "W_KEY": "canary-5", "W_OTHER": "canary-6"}']]
        local data, problem = secrets.where "prod"
        assert.same({ "prod", "draft-app-prod", false },
            { data.environment, data.app, data.ok })
        local one = by_name(data)
        assert.same({
            name = "W_DB", need = "required", state = "broken", from = ".env.prod", line = 1,
            shadowed = { "`bin/op`" }, broken = { "must be a URL of postgresql+asyncpg" },
            advice = "it lacks the driver: postgresql+asyncpg://",
        }, one.W_DB)
        assert.same({
            name = "W_KEY", need = "required", state = "ok", from = "the environment",
            shadowed = { ".env.prod", "`bin/op`" }, broken = {},
        }, one.W_KEY)
        assert.same({ name = "W_GONE", need = "required", state = "missing", shadowed = {},
            broken = {} }, one.W_GONE)
        assert.same({ name = "W_ENV", need = "required", state = "ok", from = "literal",
            shadowed = { ".env.prod" }, broken = {} }, one.W_ENV)
        assert.same({ name = "W_LEVEL", need = "literal", state = "ok", from = "literal",
            shadowed = {}, broken = {} }, one.W_LEVEL)
        assert.same({ name = "W_OPTION", need = "optional", state = "absent", shadowed = {},
            broken = {} }, one.W_OPTION)
        assert.same({ name = "W_PIN", need = "optional", state = "ok", from = ".env.prod",
            line = 6, shadowed = {}, broken = {}, unmasked = true }, one.W_PIN)
        assert.same({ "read", "read", "absent", "read" }, { data.sources[1].state,
            data.sources[2].state, data.sources[3].state, data.sources[4].state })
        assert.same({ "W_OLD" }, data.sources[2].undeclared)
        assert.equal("secrets.missing", problem.code)
        assert.matches("missing: W_GONE; invalid: W_DB", problem.msg)
    end)

    it("goes on where a source cannot be read", function()
        make "echo 'please sign in' >&2; exit 1"
        local data, problem = secrets.where(environment.get("prod", { lazy = true }))
        assert.equal("failed", data.sources[4].state)
        assert.matches("op exited with status 1: please sign in", data.sources[4].reason, 1, true)
        assert.equal("the environment", by_name(data).W_KEY.from)
        assert.equal("secrets.unreadable", problem.code)
    end)

    it("has no problem where all is well", function()
        local root = project.make { ["scripts/environments.yaml"] =
            "environments:\n  a: { app: x, secrets: { literal: { A: b } } }\n  b: { app: y }\n" }
        environment.look_from(root / "scripts")
        local data, problem = secrets.where(require("dgrun.project.target").find "a")
        assert.is_true(data.ok)
        assert.is_nil(problem)
        assert.matches("No sources are configured", ui.where(data))
        assert.matches("declares no secrets", ui.where(secrets.where "b"))
    end)

    it("never tells a value, neither as data nor as text", function()
        make [[echo '{"W_DB": "canary-4", "W_GONE": "canary-5"}'; echo canary-7 >&2]]
        local data, problem = secrets.where "prod"
        for _, text in ipairs { json.encode(data), ui.where(data), tostring(problem) } do
            assert.is_nil(text:find("canary", 1, true), text)
        end
    end)

    it("is readable", function()
        make "exit 3"
        proc.export("W_KEY", nil)
        local text = ui.where((secrets.where "prod"))
        for _, line in ipairs {
            "Secrets of prod (draft-app-prod)",
            "  1  the environment\n",
            "  3  .env.none        no such file\n",
            "  4  `bin/op`         CANNOT BE READ: op exited with status 3: no output\n",
            "  W_DB      required  .env.prod:1      INVALID: must be a URL of postgresql+asyncpg; "
                .. "it lacks the driver: postgresql+asyncpg://\n",
            "  W_ENV     required  literal          overrides the value in .env.prod\n",
            "  W_GONE    required  MISSING\n",
            "  W_LEVEL             literal\n",
            "  W_OPTION  optional  -\n",
            "  W_PIN     optional  .env.prod:6      too short to be masked\n",
            "In .env.prod, but not declared and therefore not used: W_OLD\n",
        } do
            assert.matches(line, text, 1, true)
        end
    end)
end)
