local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local project = require "support.project"

local head = "environments:\n  prod:\n    app: web\n    url: https://web.fly.dev/\n"

local function look(text)
    environment.look_from(project.make { ["scripts/environments.yaml"] = text } / "scripts")
    return environment.get("prod", { lazy = true }).probes
end

describe("the probes of an environment", function()
    it("are options of dg.probe.http", function()
        assert.same({
            { url = "https://web.fly.dev/health" },
            { url = "https://web.fly.dev/ready", expect = 204, body = "ok", within = 5 },
            { url = "https://web.fly.dev/", expect = { "2xx", 304 } },
        }, look(head .. [[
    probes:
      - path: /health
      - { path: /ready, expect: 204, body: ok, within: 5s }
      - { path: /, expect: [2xx, 304] }
]]))
    end)

    it("are one of /health where none are declared, and none without a url", function()
        assert.same({ { url = "https://web.fly.dev/health" } }, look(head))
        assert.same({}, look(head .. "    probes: []\n"))
        assert.same({}, look "environments:\n  prod: { app: web }\n")
    end)

    it("are refused with the line of what is wrong", function()
        for text, expected in pairs {
            ["    probes: [ { path: /a, expects: 200 } ]"] = "Did you mean 'expect'?",
            ["    probes: [ { expect: 200 } ]"] = "needs the key 'path'",
            ["    probes: [ { path: health } ]"] = "must begin with /",
            ["    probes: [ { path: /a, expect: ok } ]"] = "expect must be 200",
            ["    probes: [ { path: /a, expect: 1200 } ]"] = "expect must be 200",
            ["    probes: [ { path: /a, within: soon } ]"] = "a duration such as 5s",
            ["    probes: [ { path: /a, body: 5 } ]"] = "must be a string",
            ["    probes: { path: /a }"] = "must be a list",
        } do
            local ok, e = pcall(look, head .. text .. "\n")
            assert.is_false(ok, text)
            assert.equal("environment.invalid", e.code)
            assert.equal(5, e.line, text)
            assert.matches(expected, e.msg .. " " .. (e.hint or ""), 1, true)
        end
        local _, e = pcall(look,
            "environments:\n  prod:\n    app: web\n    probes: [ { path: /a } ]\n")
        assert.matches("need the environment's url", err.object(e).msg)
    end)
end)
