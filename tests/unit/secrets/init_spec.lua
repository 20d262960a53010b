local fly_run = require "support.fly_run"
local secret = require "host.secret"
local secrets = require "dgrun.secrets"

local kinds = fly_run.kinds

local image = "registry.fly.io/web:a"

local function names(fly)
    local _, answer = fly.call("GET", "/v1/apps/web/secrets")
    local list = {}
    for i, one in ipairs(answer.secrets) do
        list[i] = one.name
    end
    return list
end

describe("secrets.sync", function()
    it("sets what changed, once", function()
        fly_run.with(function(fly, execute)
            local function go(values, plan)
                return execute(function()
                    return secrets.sync { app = "web", secrets = values }
                end, plan)
            end
            local one = { A = secret.new("A", "value-one"), B = "literal" }
            assert.same({ "fly.secrets.set" }, kinds(go(one, true)))
            assert.same({ secrets = {} }, select(2, fly.call("GET", "/v1/apps/web/secrets")))
            assert.same({ "A", "B" }, go(one).value.set)
            assert.same({}, go(one).value.set)
            local two = { A = secret.new("A", "value-two"), B = "literal" }
            assert.same({ "A" }, go(two).value.set)
            -- Somebody else changed it: Fly's digest is another one.
            fly.call("POST", "/v1/apps/web/secrets", { values = { B = "theirs" } })
            local again = go(two)
            assert.same({ "B" }, again.value.set)
            assert.equal(4, again.value.version)
        end)
    end)
end)

describe("secrets", function()
    it("are set from lines, listed with digests, unset", function()
        fly_run.with(function(fly, execute)
            local text = "# a comment\nexport A='one two'\nB=\"x\\ny\"\n"
            local function import()
                return secrets.import { app = "web", text = text }
            end
            assert.same({ "A", "B" }, execute(import).value.set)
            assert.same({ "A", "B" }, execute(import).value.unchanged)
            local list = secrets.list { app = "web" }
            assert.is_true(#list[1].digest > 0 and list[1].digest ~= list[2].digest)

            local function unset(plan)
                return execute(function()
                    return secrets.unset { app = "web", names = { "A", "NOSUCH" } }
                end, plan)
            end
            assert.same({ "fly.secrets.unset" }, kinds(unset(true)))
            assert.same({ "A", "B" }, names(fly))
            assert.same({ "A" }, unset().value.unset)
            assert.same({ "B" }, names(fly))
            assert.same({}, kinds(unset()))
        end)
    end)

    it("reach the machines when they are applied, cron machines too", function()
        fly_run.with(function(fly, execute)
            fly.register(image)
            local web = require("support.sandbox").web_config
            local managed = fly.create { config = { image = image, services = web.services,
                metadata = { fly_platform_version = "v2", fly_process_group = "app" } } }
            local cron = fly.create { name = "job",
                config = { image = image, schedule = "hourly" } }
            local other = fly.create { config = { image = image } }
            fly.wait(managed.id, "started")
            fly.wait(cron.id, "stopped")
            local function sync(apply)
                return execute(function()
                    return secrets.sync { app = "web", apply = apply,
                        secrets = { A = secret.new("A", "value-one") } }
                end)
            end
            assert.same({ "fly.secrets.set" }, kinds(sync(false)))
            local record = sync(true)
            assert.equal("done", record.status, tostring(record.error))
            assert.same({ "fly.machine.update", "fly.machine.update" }, kinds(record))
            for _, id in ipairs { managed.id, cron.id } do
                assert.equal("1", fly.get(id).config.metadata.dgrun_secrets)
            end
            assert.equal("hourly", fly.get(cron.id).config.schedule)
            -- Its schedule is armed again: it was started.
            local starts = 0
            for _, event in ipairs(fly.wait(cron.id, "stopped").events) do
                starts = starts + (event.type == "start" and 1 or 0)
            end
            assert.equal(2, starts)
            assert.equal(other.instance_id, fly.get(other.id).instance_id)
            assert.same({}, kinds(sync(true)))
        end)
    end)

    it("are never in an error", function()
        fly_run.with(function(fly, execute)
            fly.call("POST", "/sandbox/v1/faults", { method = "POST", path = "/secrets$",
                times = 20, status = 500 })
            local record = execute(function()
                return secrets.sync { app = "web", secrets = { A = secret.new("A", "value-one") } }
            end)
            assert.equal("fly.server", record.error.code)
            assert.is_nil(tostring(record.error):find("value-one", 1, true))
        end)
    end)
end)
