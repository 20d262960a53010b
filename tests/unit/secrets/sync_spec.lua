local deploy = require("dgrun.fly.deploy").deploy
local environment = require "dgrun.project.environment"
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local json = require "dgrun.core.json"
local project = require "support.project"
local run = require "dgrun.run"
local secret = require "host.secret"
local secrets = require "dgrun.secrets"

local kinds = fly_run.kinds

local function sealed(values)
    local all = {}
    for name, text in pairs(values) do
        all[name] = secret.new(name, text)
    end
    return all
end

local function on_app(fly)
    local _, answer = fly.call("GET", "/v1/apps/web/secrets")
    local digests = {}
    for _, one in ipairs(answer.secrets) do
        digests[one.name] = one.digest
    end
    return digests
end

local function posts(fly, pattern)
    local _, answer = fly.call("GET", "/sandbox/v1/requests")
    local list = {}
    for _, one in ipairs(answer.requests) do
        if one.method == "POST" and one.path:find(pattern) then
            list[#list + 1] = one.status
        end
    end
    return list
end

local function notes(record)
    local list = {}
    for i, note in ipairs(record.notes) do
        list[i] = note.text
    end
    return table.concat(list, "\n")
end

local function done(record)
    assert.equal("done", record.status, tostring(record.error))
    return record
end

local function failed(record, code)
    assert.equal("failed", record.status)
    assert.equal(code, record.error.code, tostring(record.error))
    return record.error
end

---Runs `f` and returns what it wrote to secrets: sorted names, a removal with a dash.
local function writes(f)
    local api, list = require "dgrun.fly.api", {}
    local real = api.machines
    api.machines = function(method, path, opts)
        if method == "POST" and path:find "/secrets$" then
            local names = {}
            for name, value in pairs(opts.json.values) do
                names[#names + 1] = (value == json.null and "-" or "") .. name
            end
            table.sort(names)
            list[#list + 1] = table.concat(names, " ")
        end
        return real(method, path, opts)
    end
    local ok, e = pcall(f)
    api.machines = real
    assert(ok, e)
    return list
end

---A syncer of "web": go(values, {prune=, plan=, …}).
local function syncer(execute)
    return function(values, opts)
        opts = opts or {}
        return execute(function()
            return secrets.sync { app = "web", secrets = values, prune = opts.prune,
                apply = opts.apply }
        end, opts.plan)
    end
end

describe("secrets.sync", function()
    health.smoke_seconds = 0.1

    it("tells each name's state, in the plan and in the run alike", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            fly.call("POST", "/v1/apps/web/secrets",
                { values = { BEFORE = "was there", OLD = "nobody wants it" } })
            local one = sealed { SAME = "value-same", MOVED = "value-one", TAKEN = "value-two",
                BEFORE = "was there" }
            local first = done(go(one)).value
            assert.same({ "MOVED", "SAME", "TAKEN" }, first.new)
            assert.same({ "BEFORE" }, first.unknown)
            assert.same({ "OLD" }, first.extra)
            assert.same({ "BEFORE", "MOVED", "SAME", "TAKEN" }, first.set)
            assert.same({ {}, {}, {}, {} },
                { first.changed, first.unchanged, first.unset, first.kept })

            fly.call("POST", "/v1/apps/web/secrets", { values = { TAKEN = "by somebody" } })
            local two = sealed { SAME = "value-same", MOVED = "value-three", TAKEN = "value-two",
                BEFORE = "was there", NEW = "value-new", LITERAL = "x" }
            two.LITERAL = "plain"
            local before = on_app(fly)
            local plan = done(go(two, { plan = true }))
            assert.same(before, on_app(fly))
            local record = done(go(two))
            for name, list in pairs { new = { "LITERAL", "NEW" }, changed = { "MOVED" },
                unchanged = { "BEFORE", "SAME" }, unknown = { "TAKEN" }, extra = { "OLD" },
                set = { "LITERAL", "MOVED", "NEW", "TAKEN" }, unset = {} } do
                assert.same(list, plan.value[name])
                assert.same(list, record.value[name])
            end
            assert.same(notes(plan), notes(record))
            assert.matches("unchanged: BEFORE and SAME", notes(plan), 1, true)
            assert.matches("set by someone else .*: TAKEN", notes(plan))
            assert.matches("not declared; leaving unchanged .*: OLD", notes(plan))
            local text = require("dgrun.run.plan").render(plan)
            assert.matches("~ set LITERAL (new), MOVED (changed), NEW (new) and TAKEN (unknown)",
                text, 1, true)
            assert.matches("MOVED: set → changed", text, 1, true)
            assert.matches('TAKEN: "set by someone else" → "set again"', text, 1, true)
            assert.matches("NEW: set (new)", text, 1, true)
            assert.is_nil(text:find("value-", 1, true))
            assert.same({ "BEFORE", "LITERAL", "MOVED", "NEW", "SAME", "TAKEN" },
                done(go(two)).value.unchanged)
        end)
    end)

    it("removes what is not declared on request, in the same write", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            fly.call("POST", "/v1/apps/web/secrets", { values = { OLD = "1", OLDER = "2" } })
            local values = sealed { A = "value-one" }
            assert.same({ "OLD", "OLDER" }, done(go(values)).value.extra)
            assert.is_string(on_app(fly).OLD)
            values.B = "literal"
            local before = posts(fly, "/secrets$")
            local plan = done(go(values, { prune = true, plan = true }))
            assert.same({ "fly.secrets.set" }, kinds(plan))
            local text = require("dgrun.run.plan").render(plan)
            assert.matches("set B; remove OLD and OLDER on web", text, 1, true)
            assert.matches("OLDER: removed", text, 1, true)
            assert.is_string(on_app(fly).OLD)
            local result = done(go(values, { prune = true })).value
            assert.same({ "OLD", "OLDER" }, result.unset)
            assert.same({ "B" }, result.set)
            assert.equal(#before + 1, #posts(fly, "/secrets$"))
            assert.equal(3, result.version)
            local now = on_app(fly)
            assert.same({ A = now.A, B = now.B }, now)

            fly.call("POST", "/v1/apps/web/secrets", { values = { OLD = "1" } })
            assert.same({ "fly.secrets.unset" }, kinds(done(go(values, { prune = true }))))
            assert.same({}, kinds(done(go(values, { prune = true }))))
        end)
    end)

    it("does not empty an app because of an empty table", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            assert.same({}, kinds(done(go({}, { prune = true }))))
            fly.call("POST", "/v1/apps/web/secrets", { values = { OLD = "1" } })
            for _, plan in ipairs { true, false } do
                local e = failed(go({}, { prune = true, plan = plan }), "secrets.refused")
                assert.matches("would remove everything from web %(1 secret%)", e.msg)
            end
            assert.is_string(on_app(fly).OLD)
        end)
    end)

    it("refuses what is no secret before anything is set, and does not quote it", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            local e = failed(go { A = "good", ["hunter-2"] = "x" }, "input.invalid")
            assert.is_nil(e.msg:find("hunter", 1, true))
            e = failed(go { A = "good", B = 5 }, "input.invalid")
            assert.matches("B must be a string or a sealed value, not number", e.msg)
            assert.same({}, on_app(fly))
        end)
    end)

    it("of an environment looks its values up, and keeps optional ones that have none", function()
        fly_run.with(function(fly, execute)
            local root = project.make { ["scripts/environments.yaml"] = [[
environments:
  prod:
    app: web
    secrets:
      sources: [dotenv: .env]
      required: [SYNC_KEY]
      optional: [SYNC_EXTRA, SYNC_OTHER]
      literal: { ENV: prod }
]], [".env"] = "SYNC_KEY=from-the-file\n" }
            environment.look_from(root / "scripts")
            fly.call("POST", "/v1/apps/web/secrets",
                { values = { SYNC_EXTRA = "by hand", OLD = "1" } })
            local result = done(execute(function()
                local env = environment.get("prod", { lazy = true })
                return secrets.sync { app = env.app, secrets = env.secrets, prune = true }
            end)).value
            assert.same({ "ENV", "SYNC_KEY" }, result.new)
            assert.same({ "SYNC_EXTRA" }, result.kept)
            assert.same({ "OLD" }, result.unset)
            local now = on_app(fly)
            assert.is_true(now.SYNC_EXTRA ~= nil and now.OLD == nil)
        end)
    end)

    it("settles a lost answer by reading, and then knows the version", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            done(go(sealed { A = "value-one", B = "value-b" }))
            fly.fault { method = "POST", path = "/secrets$", reset = true, when = "after" }
            local two = sealed { A = "value-two", B = "value-b", C = "value-c" }
            local result
            local list = writes(function() result = done(go(two)).value end)
            assert.same({ "A", "C" }, result.set)
            -- One write, and one that changes nothing and tells the version.
            assert.equal("A C", list[1])
            assert.matches("^%-DGRUN_%x+$", list[2])
            assert.is_nil(list[3])
            assert.equal(3, result.version)
            assert.same({ "A", "B", "C" }, done(go(two)).value.unchanged)
            assert.equal(3, done(go(two)).value.version)
        end)
    end)

    it("makes a write again that did not arrive", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            fly.fault { method = "POST", path = "/secrets$", status = 500, when = "before" }
            local record = done(go(sealed { A = "value-one" }))
            assert.same({ 500, 200 }, posts(fly, "/secrets$"))
            assert.equal(1, record.value.version)
            -- Set anew with the value that is there: only the time of the change tells.
            fly.call("POST", "/v1/apps/web/secrets", { values = { B = "value-b" } })
            fly.advance(60)
            fly.fault { method = "POST", path = "/secrets$", reset = true, when = "after" }
            local list = writes(function()
                record = done(go(sealed { A = "value-one", B = "value-b" }))
            end)
            assert.same({ "B" }, record.value.unknown)
            assert.equal("B", list[1])
            assert.matches("^%-DGRUN_%x+$", list[2])
        end)
    end)

    it("does not believe an answer that Fly's digests do not bear out", function()
        fly_run.with(function(fly, execute)
            local go = syncer(execute)
            done(go(sealed { A = "value-one" }))
            local function refused(values, what)
                fly.fault { method = "POST", path = "/secrets$", status = 200, when = "before" }
                local e = failed(go(values, { prune = true }), "secrets.not_set")
                assert.matches(what, e.msg, 1, true)
                assert.is_nil(tostring(e):find("value-", 1, true))
                fly.call("DELETE", "/sandbox/v1/faults")
            end
            refused(sealed { A = "value-two" }, "A still has its previous digest")
            refused(sealed { A = "value-one", B = "value-b" }, "B is not set")
            refused(sealed { B = "value-b" }, "A is still set and B is not set")
            -- Nothing is taken for known after that, so that the next run can go on.
            assert.same({ "A" }, done(go(sealed { A = "value-two" })).value.unknown)
            assert.same({ "A" }, done(go(sealed { A = "value-two" })).value.unchanged)
        end)
    end)

    it("plans with values that are only known after apply", function()
        fly_run.with(function(_, execute)
            local plan = execute(function()
                local url = require("dgrun.run.effect").write { kind = "database.create",
                    target = "db", summary = "create a database", apply = error }
                return secrets.sync { app = "web", secrets = { DATABASE_URL = url, ENV = "pr" } }
            end, true)
            assert.same({ "DATABASE_URL", "ENV" }, done(plan).value.new)
        end)
    end)

    it("makes a release with apply, so that flyctl lists the secrets as deployed", function()
        fly_run.with(function(fly, execute)
            local path, commit = fly.dir / "fly.toml", ("a"):rep(40)
            assert(fs.write(path, 'app = "web"\nprimary_region = "ewr"\nkill_timeout = 9\n'
                .. "[http_service]\ninternal_port = 8080\nauto_stop_machines = 'stop'\n"))
            fly.register("registry.fly.io/web:a")
            local ids = done(execute(function()
                return deploy { app = "web", config = path, image = "registry.fly.io/web:a",
                    commit = commit }
            end)).value.machines
            local record = done(execute(function()
                return secrets.sync { app = "web", secrets = sealed { A = "value" }, apply = true }
            end))
            assert.same({ "fly.secrets.set", "fly.release.create", "fly.machine.update",
                "fly.machine.update" }, kinds(record))
            local newest, before = unpack(require("dgrun.fly.releases").history("web"))
            assert.same({ 2, "complete" }, { newest.version, newest.status })
            assert.equal(before.imageRef, newest.imageRef)
            -- As flyctl's types print them.
            assert.equal("9s", newest.configDefinition.kill_timeout)
            assert.is_true(newest.configDefinition.http_service.auto_stop_machines)
            assert.equal(commit, newest.configDefinition.dgrun.commit)
            for _, id in ipairs(ids) do
                local metadata = fly.get(id).config.metadata
                assert.equal(newest.id, metadata.fly_release_id)
                assert.equal("2", metadata.fly_release_version)
                assert.equal(commit, metadata.dgrun_commit)
            end
        end)
    end)

    it("is staged: the deploy that follows updates each machine once, as planned", function()
        fly_run.with(function(fly, execute)
            local path = fly.dir / "fly.toml"
            assert(fs.write(path, 'app = "web"\nprimary_region = "ewr"\n[http_service]\n'
                .. "internal_port = 8080\nauto_start_machines = true\n"))
            fly.register("registry.fly.io/web:a")
            local function go(value, plan)
                return done(execute(function()
                    secrets.sync { app = "web", secrets = sealed { A = value } }
                    return deploy { app = "web", config = path, image = "registry.fly.io/web:a" }
                end, plan))
            end
            local ids = go("value-one").value.machines
            assert.equal(2, #ids)
            local before = {}
            for _, id in ipairs(ids) do
                before[id] = fly.get(id).instance_id
            end
            done(syncer(execute)(sealed { A = "value-two" }))
            for _, id in ipairs(ids) do
                assert.equal(before[id], fly.get(id).instance_id)
            end
            local plan, record = go("value-three", true), go("value-three")
            assert.same(kinds(plan), kinds(record))
            assert.same({ "fly.secrets.set", "fly.release.create", "fly.machine.update",
                "fly.machine.update" }, kinds(record))
            for _, id in ipairs(ids) do
                assert.equal(1, #posts(fly, "/machines/" .. id .. "$"))
                assert.same({}, posts(fly, "/machines/" .. id .. "/[rs][et][sao]%a+$"))
                assert.equal("3", fly.get(id).config.metadata.dgrun_secrets)
            end
            assert.same({}, kinds(go("value-three")))
        end)
    end)
end)

describe("secrets.diff", function()
    it("tells what sync would do, and leaves no trace", function()
        fly_run.with(function(fly, execute)
            fly.call("POST", "/v1/apps/web/secrets", { values = { OLD = "1", A = "2" } })
            local before, written = on_app(fly), #posts(fly, "/secrets")
            local diff = done(execute(function()
                return secrets.diff { app = "web", secrets = sealed { A = "value", B = "value" } }
            end)).value
            assert.same({
                { name = "A", state = "unknown", reason = "never", declared = "given",
                    digest = before.A },
                { name = "B", state = "new", declared = "given" },
                { name = "OLD", state = "extra", digest = before.OLD },
            }, diff.names)
            assert.same({ { "B" }, { "A" }, { "OLD" }, {} },
                { diff.new, diff.unknown, diff.extra, diff.unchanged })
            assert.same(before, on_app(fly))
            assert.equal(written, #posts(fly, "/secrets"))
        end)
    end)
end)

describe("secrets.unset", function()
    it("refuses what the environment needs", function()
        fly_run.with(function(fly, execute)
            environment.look_from(project.make { ["scripts/environments.yaml"] = [[
environments:
  prod:
    app: web
    secrets: { required: [NEEDED], optional: [NICE], literal: { ENV: prod } }
]] } / "scripts")
            fly.call("POST", "/v1/apps/web/secrets",
                { values = { NEEDED = "1", NICE = "2", ENV = "3" } })
            local function unset(names, any)
                return execute(function()
                    local env = environment.get("prod", { lazy = true })
                    return secrets.unset { app = "web", names = names,
                        secrets = not any and env.secrets or nil }
                end)
            end
            local e = failed(unset { "NICE", "NEEDED", "ENV" }, "secrets.refused")
            assert.matches("ENV and NEEDED", e.msg)
            assert.is_string(on_app(fly).NICE)
            assert.same({ "NICE" }, done(unset { "NICE", "NICE" }).value.unset)
            assert.same({ "NEEDED" }, done(unset({ "NEEDED", "NONE" }, true)).value.unset)
        end)
    end)
end)

describe("the version of secrets", function()
    it("is another one on the local Fly", function()
        fly_run.with(function(fly, execute)
            done(syncer(execute)(sealed { A = "value-one" }))
            done(execute(function()
                assert.equal(1, secrets.version "web")
                require("dgrun.fly.api").use { token = secret.new("T", "fo1_real"),
                    machines_url = fly.sandbox.url, api_url = fly.sandbox.url }
                assert.is_nil(secrets.version "web")
            end))
            assert.is_nil(run.current())
        end)
    end)
end)
