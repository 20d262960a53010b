local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local project = require "support.project"
local rules = require "dgrun.project.secret_rules"

local function read(secrets)
    local root = project.make { ["scripts/environments.yaml"] =
        "environments:\n  prod:\n    app: x\n    secrets:\n" .. secrets }
    environment.look_from(root / "scripts")
    return getmetatable(environment.get "prod").entry.secrets
end

local function fault(secrets)
    local ok, e = pcall(read, secrets)
    assert.is_false(ok, "it was accepted")
    e = err.object(e)
    assert.equal("environment.invalid", e.code, e.msg)
    return e
end

local function said(declared, name)
    local list = {}
    for i, rule in ipairs(declared.rules[name] or {}) do
        list[i] = rules.says(rule)
    end
    return list
end

describe("the declaration of secrets", function()
    it("names required and optional ones in a list, a mapping, or both", function()
        local declared = read [[
      required: [PLAIN, SECRET_KEY: { min_length: 16 }, OTHER]
      optional:
        - DSN: { url: https }
        - TOKEN
]]
        assert.same({ "PLAIN", "SECRET_KEY", "OTHER" }, declared.required)
        assert.same({ "DSN", "TOKEN" }, declared.optional)
        assert.same({ "must have at least 16 characters" }, said(declared, "SECRET_KEY"))
        assert.same({ "must be a URL of https" }, said(declared, "DSN"))
        declared = read [[
      required:
        B: { url: [postgresql+asyncpg, sqlite+aiosqlite], max_length: 1 }
        A:
        C: { url: true }
      literal: { A: "", B: x }
]]
        assert.same({ "A", "B", "C" }, declared.required)
        assert.same({ "must be a URL of postgresql+asyncpg or sqlite+aiosqlite",
            "must have at most 1 character" }, said(declared, "B"))
        assert.same({}, said(declared, "A"))
        assert.same({ "must be a URL" }, said(declared, "C"))
        assert.same({ A = "", B = "x" }, declared.literal)
    end)

    it("says each rule in words", function()
        local declared = read [[
      required:
        - A: { one_of: [dev, stage, prod], not_one_of: [changeme, ""], pattern: "[a-z]+" }
]]
        assert.same({ "must be dev, stage or prod", 'must not be changeme or ""',
            "must match [a-z]+" }, said(declared, "A"))
    end)

    it("lists sources in their order", function()
        local declared = read [[
      sources:
        - env
        - dotenv: .env.prod
        - { age: .env.prod.age, identity: ~/key.txt }
        - command: [op, item, get, prod, --format, json]
          at: fields
          timeout: 90s
        - command: [vault, kv, get]
          at: [data, a.b, 0]
]]
        assert.same({
            { kind = "env" }, { kind = "dotenv", file = ".env.prod" },
            { kind = "age", file = ".env.prod.age", identity = "~/key.txt" },
            { kind = "command", argv = { "op", "item", "get", "prod", "--format", "json" },
                at = { "fields" }, timeout = 90 },
            { kind = "command", argv = { "vault", "kv", "get" }, at = { "data", "a.b", "0" } },
        }, declared.sources)
    end)

    it("reads as the reference says", function()
        local page = require("host.fs").read("stdlib/reference/environments.secrets.md")
        local example = page:match "```yaml\nsecrets:\n(.-)```"
        local declared = read((example:gsub("  ([^\n]*\n)", "      %1")))
        assert.equal(4, #declared.sources)
        assert.same({ "DATABASE_URL", "ENV", "S3_BUCKET", "SECRET_KEY" }, declared.required)
        assert.same({ "GEMINI_API_KEY", "SENTRY_DSN" }, declared.optional)
        assert.same({ ENV = "prod", LOG_LEVEL = "INFO" }, declared.literal)
    end)

    it("is refused with line and reason", function()
        for _, case in ipairs {
            { "      required:\n        - A: { min: 16 }\n", 6, "%[1%].A has no key 'min'" },
            { "      required:\n        A: 16\n", 6, "must be a mapping of rules" },
            { "      required:\n        A: { min_length: 0 }\n", 6, "whole number of characters" },
            { "      required:\n        A: { max_length: many }\n", 6, "whole number" },
            { "      required:\n        A: { one_of: prod }\n", 6, "must be a list of strings" },
            { "      required:\n        A: { one_of: [] }\n", 6, "must be a list of strings" },
            { "      required:\n        A: { one_of: [true] }\n", 6, "must be a string" },
            { "      required:\n        A: { pattern: '(a' }\n", 6, "expression: Unmatched" },
            { "      required:\n        A: { pattern: 5 }\n", 6, "must be a string" },
            { "      required:\n        A: { url: 'http://' }\n", 6, "is not a URL scheme" },
            { "      required:\n        A: { url: false }\n", 6, "must be a string" },
            { "      required:\n        - SECRET_KEY:\n          min_length: 16\n", 6,
                "a name, or one name with its rules" },
            { "      required:\n        - { A: , B: }\n", 6, "a name, or one name" },
            { "      required:\n        - [A]\n", 6, "is not a valid secret name" },
            { "      required:\n        A-B:\n", 6, "'A%-B' is not a valid secret name" },
            { "      required: [A]\n      optional: { A: }\n", 6, "declares A twice" },
            { "      required: KEY\n", 5, "a list of names or a mapping" },
            { "      literal: { A: 5 }\n", 5, "must be a string" },
            { "      sources: [ dotnev: x ]\n", 5, "no key 'dotnev'" },
            { "      sources: [ { dotenv: x, at: y } ]\n", 5, "no key 'at'" },
            { "      sources: [ { identity: x } ]\n", 5, "must be env or dotenv" },
            { "      sources: [ { age: x, dotenv: y } ]\n", 5, "has no key" },
            { "      sources: [ command: op item get ]\n", 5, "must be a list of words" },
            { "      sources: [ command: [] ]\n", 5, "must be a list of words" },
            { "      sources: [ command: [op, 5] ]\n", 5, "must be a string" },
            { "      sources: [ { command: [op], at: '' } ]\n", 5, "must be keys" },
            { "      sources: [ { command: [op], timeout: soon } ]\n", 5, "must be a duration" },
            { "      sources: [ { command: [op], timeout: 0 } ]\n", 5, "must be a duration" },
        } do
            local e = fault(case[1])
            assert.matches(case[3], e.msg, case[1])
            assert.equal(case[2], e.line, e.msg)
        end
        assert.equal("Did you mean 'min_length'?",
            fault("      required: { A: { min_lenght: 1 } }\n").hint)
        assert.matches("No shell reads it", fault("      sources: [ command: op ]\n").hint)
    end)
end)
