local effect = require "dgrun.run.effect"
local json = require "dgrun.core.json"
local plan = require "dgrun.run.plan"
local run = require "dgrun.run"
local secret = require "host.secret"

local function planned(fn)
    local r = run.execute({ name = "test", root = "/nowhere", plan = true }, fn)
    assert.is_nil(r.error)
    return plan.render(r)
end

local function write(summary, before, after, kind)
    return effect.write {
        kind = kind or "x.put", target = "x", summary = summary, before = before, after = after,
        apply = error,
    }
end

describe("a plan", function()
    it("says when nothing would change", function()
        assert.equal("No changes.\n", planned(function() end))
        assert.equal("Deploy\n  · on v1 already\n\nNo changes.\n", planned(function()
            run.step("Deploy", function() effect.note "on v1 already" end)
        end))
    end)

    it("groups effects by step and counts them", function()
        local text = planned(function()
            run.step("Migrate", function() write("alembic upgrade head", nil, nil, "proc.run") end)
            run.step("Empty", function() end)
            run.step("Deploy", function()
                write("create machine", nil, { image = "a:2" })
                write("update machine", { image = "a:1" }, { image = "a:2" })
                write("destroy machine", { image = "a:1" })
            end)
        end)
        assert.equal([[
Migrate
  ! alembic upgrade head

Empty
  no changes

Deploy
  + create machine
      image: a:2
  ~ update machine
      image: a:1 → a:2
  - destroy machine

Plan: 1 to create, 1 to update, 1 to destroy, 1 to run.
]], text)
    end)

    local function details(before, after)
        return plan.details({ before = before, after = after }, "")
    end

    it("shows only the fields that change", function()
        assert.same({
            "env.A: old → new", "env.B: removed, was 1", "env.C: 3 (new)",
            "guest.memory_mb: 256 → 512",
        }, details(
            { env = { A = "old", B = 1, D = "same" }, guest = { cpus = 1, memory_mb = 256 } },
            { env = { A = "new", C = 3, D = "same" }, guest = { cpus = 1, memory_mb = 512 } }))
    end)

    it("compares lists of equal length item by item, others as a whole", function()
        assert.same({ "ports[2].port: 80 → 8080" }, details(
            { ports = { { port = 443 }, { port = 80 } } },
            { ports = { { port = 443 }, { port = 8080 } } }))
        assert.same({ "cmd: [a] → [a, b]" }, details({ cmd = { "a" } }, { cmd = { "a", "b" } }))
        assert.same({ "cmd: [] → [a]" }, details({ cmd = json.array {} }, { cmd = { "a" } }))
    end)

    it("breaks what is too long for a line", function()
        local old, new = ("a"):rep(50), ("b"):rep(50)
        assert.same({ "image: " .. old, "     → " .. new },
            details({ image = old }, { image = new }))
    end)

    it("shows secrets by name and unknown values as such", function()
        local sealed = secret.new("SECRET_KEY", "correct horse battery")
        assert.same({ "a: secret(SECRET_KEY) (new)", "b: old → (known after apply)" },
            details({ b = "old" }, { a = sealed, b = effect.unknown "release" }))
    end)

    it("quotes what would be misread", function()
        assert.same({ [[a: "with space"]], [[b: "line\nbreak"]], [[c: ""]] },
            details(nil, { a = "with space", b = "line\nbreak", c = "" }))
    end)
end)
