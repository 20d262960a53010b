local environment = require "dgrun.project.environment"
local fly_run = require "support.fly_run"
local project = require "support.project"
local secrets = require "dgrun.secrets"

local FILE = [[
environments:
  stage:
    app: web
    secrets:
      sources: [dotenv: .env.stage]
      required: [CMP_DATABASE_URL, CMP_SECRET_KEY, CMP_SHARED]
      optional: [CMP_ONLY_STAGE]
      literal: { ENV: stage, LOG_LEVEL: INFO, TEST_PASSWORD: example }
  prod:
    app: web-prod
    secrets:
      sources: [dotenv: .env.prod]
      required: [CMP_DATABASE_URL, CMP_SECRET_KEY, CMP_SHARED]
      literal: { ENV: prod, LOG_LEVEL: INFO, TEST_PASSWORD: example }
]]

local STAGE = "CMP_DATABASE_URL=sqlite:///stage.db\nCMP_SECRET_KEY=one-for-both\n"
    .. "CMP_SHARED=known-to-both\n"
local PROD = "CMP_DATABASE_URL=sqlite:///prod.db\nCMP_SECRET_KEY=one-for-both\n"
    .. "CMP_SHARED=known-to-both\n"

local function look(stage, prod)
    local files = { ["scripts/environments.yaml"] = FILE, [".env.stage"] = stage,
        [".env.prod"] = prod }
    environment.look_from(project.make(files) / "scripts")
end

local function done(record)
    assert.equal("done", record.status, tostring(record.error))
    return record.value
end

local function env(name)
    return environment.get(name, { lazy = true })
end

local function compare(execute, left, right)
    return done(execute(function()
        return secrets.compare { left = env(left or "stage"), right = env(right or "prod") }
    end))
end

local function by_name(comparison)
    local pairs_of = {}
    for _, pair in ipairs(comparison.names) do
        pairs_of[pair.name] = pair
    end
    return pairs_of
end

local function sync(execute, name)
    return done(execute(function()
        local one = env(name)
        return secrets.sync { app = one.app, secrets = one.secrets }
    end))
end

local apps = { apps = { "web", "web-prod" } }

describe("secrets.compare", function()
    it("tells what is the same before anything is set, from the sources", function()
        fly_run.with(function(_, execute)
            look(STAGE, PROD)
            local found = compare(execute)
            assert.same({ "CMP_SECRET_KEY", "CMP_SHARED", "LOG_LEVEL", "TEST_PASSWORD" },
                found.same)
            assert.same({ "CMP_DATABASE_URL", "ENV" }, found.different)
            -- A literal stands in the file for all to read, and other keys may be shared.
            assert.same({ "CMP_SECRET_KEY" }, found.mistakes)
            assert.matches("session signed by", by_name(found).CMP_SECRET_KEY.mistake)
            assert.same({ declared = "required", present = false, basis = "sources" },
                by_name(found).CMP_SECRET_KEY.left)
            assert.same({ left = { "CMP_ONLY_STAGE" }, right = {} }, found.declared_only)
            assert.is_nil(by_name(found).CMP_ONLY_STAGE.value)
            assert.same({ name = "stage", app = "web" }, found.left)
        end, apps)
    end)

    it("needs no values where dgrun set them", function()
        fly_run.with(function(fly, execute)
            look(STAGE, PROD)
            sync(execute, "stage")
            sync(execute, "prod")
            fly.call("POST", "/v1/apps/web-prod/secrets", { values = { CMP_HAND = "x" } })
            -- Another computer, without the files; its store is the shared one.
            look("# nothing\n", "# nothing\n")
            local found = compare(execute)
            assert.same({ "CMP_SECRET_KEY", "CMP_SHARED", "LOG_LEVEL", "TEST_PASSWORD" },
                found.same)
            assert.same({ "CMP_DATABASE_URL", "ENV" }, found.different)
            assert.same({ left = {}, right = { "CMP_HAND" } }, found.present_only)
            assert.matches("CMP_DATABASE_URL", found.left.unread)
            local pair = by_name(found).CMP_SHARED
            assert.same({ "app", "app" }, { pair.left.basis, pair.right.basis })
        end, apps)
    end)

    it("believes the app before the sources, and nothing that somebody else set", function()
        fly_run.with(function(fly, execute)
            look(STAGE, PROD)
            sync(execute, "stage")
            sync(execute, "prod")
            fly.call("POST", "/v1/apps/web/secrets",
                { values = { CMP_SHARED = "theirs", CMP_SECRET_KEY = "theirs" } })
            look("# nothing\n", PROD:gsub("one%-for%-both", "not-set-yet"))
            local found = compare(execute)
            assert.same({ "CMP_SECRET_KEY", "CMP_SHARED" }, found.unknown)
            assert.is_nil(by_name(found).CMP_SHARED.left.basis)
            assert.equal("app", by_name(found).CMP_SECRET_KEY.right.basis)

            sync(execute, "prod")
            look(STAGE:gsub("one%-for%-both", "not-set-yet"), "# nothing\n")
            assert.same({ "CMP_SECRET_KEY" }, compare(execute).mistakes)
            assert.equal("sources", by_name(compare(execute)).CMP_SECRET_KEY.left.basis)
        end, apps)
    end)

    it("changes nothing, and shows no value", function()
        fly_run.with(function(fly, execute)
            look(STAGE, PROD)
            local text = require("dgrun.core.json").encode(compare(execute))
                .. require("dgrun.ui.secrets").compare(compare(execute))
            for _, word in ipairs { "one-for-both", "known-to-both", "prod.db", "example" } do
                assert.is_nil(text:find(word, 1, true))
            end
            assert.matches("CMP_SECRET_KEY is the same in stage and prod", text, 1, true)
            local _, answer = fly.call("GET", "/sandbox/v1/requests")
            for _, request in ipairs(answer.requests) do
                assert.equal("GET", request.method)
            end
        end, apps)
    end)

    it("wants two environments", function()
        fly_run.with(function(_, execute)
            look(STAGE, PROD)
            local record = execute(function()
                secrets.compare { left = env "stage", right = { secrets = {} } }
            end)
            assert.equal("input.invalid", record.error.code)
            record = execute(function()
                secrets.compare { left = env "stage", right = env "stage" }
            end)
            assert.equal("input.invalid", record.error.code)
            assert.matches("left and right are both stage", record.error.msg)
        end, apps)
    end)
end)
