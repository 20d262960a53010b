-- Planted secrets must not be found anywhere but where they are meant to be: in what brings them to
-- Fly, and in the environment of the children that they are given to.
local canaries = require "support.canaries"
local everything = require "support.all_commands"
local fs = require "host.fs"
local full_it = require("support.matrix").full_it
local witness = require "support.leak_harness"

---What is run of each command of dgrun itself; nothing is found that is not here.
local words = {
    complete = { { "complete", "--", "prod_deploy", "--" }, { "complete", "--", "" } },
    completion = { { "completion", "bash" } },
    help = { { "help" }, { "help", "prod_deploy" } },
    history = { { "history" }, { "history", "--json" } },
    list = { { "list" } },
    lock = { { "lock", "hold", "draft-app", "--reason", "a test" }, { "lock", "list" },
        { "lock", "list", "--json" }, { "lock", "release", "draft-app" } },
    plan = {}, -- with each script
    resume = { { "prod_deploy", "--ref", "nosuch", status = 2 }, { "resume", status = 2 } },
    sandbox = {}, -- a server: it has a test of its own
    show = { { "show" }, { "show", "--json" } },
    version = { { "version" } },
}

---Words of actions whose declaration does not tell enough, by name.
---@type table<string, fun(w: support.leak_harness): string[][]>
local special = {
    ["cron remove"] = function(w)
        local made = w:run { "--sandbox", "machines", "clone", "stage",
            w:machine("draft-app", "scheduled") }
        local argv = { "cron", "remove", "stage", made.stdout:match "%x+" }
        return { { "--sandbox", "plan", unpack(argv) }, { "--sandbox", unpack(argv) } }
    end,
    ["cron run"] = function()
        return { { "--sandbox", "--trace", "cron", "run", "stage", "news-ingestion-cron" } }
    end,
    ["secrets compare"] = function()
        return { { "--sandbox", "secrets", "compare", "stage", "prod" },
            { "--sandbox", "secrets", "compare", "stage", "prod", "--json" } }
    end,
    ["secrets run"] = function(w)
        w.trusted = "given by secrets run"
        local argv = { "secrets", "run", "stage", "--", "sh", "-c",
            "export GIVEN='given by secrets run'; printenv; printenv >&2" }
        return { { "--sandbox", "plan", unpack(argv) }, { "--sandbox", "--trace", unpack(argv) },
            { "secrets", "run", "stage", "--", "nosuch", status = 127 } }
    end,
    ["secrets set"] = function(w)
        local value = canaries.values.SECRET_KEY
        w.project:write(".env.more", ("SECRET_KEY='%s'\n"):format(value))
        local argv = { "--sandbox", "--trace", "secrets", "set", "stage" }
        local one, other = { unpack(argv) }, { unpack(argv) }
        one[6], one[7], one.stdin = "--stdin", "SECRET_KEY", value
        other[6], other[7], other[8] = "--from", ".env.more", "--json"
        return { one, other, { "--sandbox", "secrets", "set", "stage", "SECRET_KEY", status = 2 } }
    end,
    exec = function()
        return { { "--sandbox", "--trace", "exec", "stage", "--", "env" },
            { "--sandbox", "exec", "stage", "--json", "--", "env" } }
    end,
    ["machines exec"] = function(w)
        local argv = { "machines", "exec", "stage", w:machine "draft-app" }
        return { { "--sandbox", argv[1], argv[2], argv[3], argv[4], "--", "env" },
            { "--sandbox", argv[1], argv[2], argv[3], argv[4], "--json", "--", "env" } }
    end,
    ["machines destroy"] = function(w)
        local made = w:run { "--sandbox", "machines", "clone", "stage", w:machine "draft-app" }
        local argv = { "machines", "destroy", "stage", made.stdout:match "%x+", "--force" }
        return { { "--sandbox", "plan", unpack(argv) }, { "--sandbox", unpack(argv) } }
    end,
    ["migrations lint"] = function()
        return { { "migrations", "lint" }, { "--trace", "migrations", "lint", "--json" },
            { "migrations", "lint", "--since", "v1.0.0", status = 3 } }
    end,
    ["review_app sweep"] = function()
        return { { "--sandbox", "--trace", "review_app", "sweep", "--older", "7d" } }
    end,
    rollback = function(w)
        w.project:commit { ["app/extra.py"] = "# more\n" }
        return { { "--sandbox", "stage_deploy" }, { "--sandbox", "plan", "rollback", "stage" },
            { "--sandbox", "--trace", "rollback", "stage", "--despite-database", "a test" } }
    end,
}

---What a word of the command line may be.
local function kinds_of(w)
    local kinds = {}
    for _, name in ipairs { "target", "environment" } do
        kinds[name] = function() return "stage" end
    end
    kinds.secret = function() return "GEMINI_API_KEY" end
    kinds.release = function() return "1" end
    kinds.ref = function() return "v1.2.0" end
    kinds.signal = function() return "SIGHUP" end
    function kinds.machine()
        return w:machine "draft-app"
    end
    function kinds.run()
        local id = w:run({ "history", "--json" }).stdout:match '"id":"([^"]+)"'
        return assert(id, "there is no run")
    end
    return kinds
end

local function run_words(w, argv)
    local result = w:run(argv, { stdin = argv.stdin, timeout = argv.timeout })
    if result.status ~= (argv.status or 0) then
        table.insert(w.surprises, ("dgrun %s ended with %d\n%s"):format(table.concat(argv, " "),
            result.status, result.all))
    end
    return result
end

local function run_one(w, one, kinds)
    local name = everything.name(one)
    if special[name] then
        for _, argv in ipairs(special[name](w)) do
            run_words(w, argv)
        end
        return
    end
    run_words(w, { "--sandbox", "plan", unpack(everything.words(one, kinds)) })
    run_words(w, { "--sandbox", "--trace", unpack(everything.words(one, kinds)) })
    if one.shows then
        local argv = { "--sandbox", unpack(everything.words(one, kinds)) }
        table.insert(argv, #argv - (one.rest and 1 or -1), "--json")
        run_words(w, argv)
    end
end

---What brings secrets somewhere, or shows where they are: enough for the quick tests.
local carriers = { "exec", "secrets compare", "secrets run", "secrets set", "stage_deploy" }
for _, name in ipairs(carriers) do
    carriers[name] = true
end

---Runs commands in every way that they have; nothing of a canary is left behind.
---@param w support.leak_harness
---@param is_wanted fun(one: support.all_commands.one): boolean
local function walk(w, is_wanted)
    local found = everything.find(function(argv) return w:run(argv) end)
    local kinds = kinds_of(w)
    w.surprises = {}
    -- Most commands are about what is deployed.
    local function is_deploy(one)
        return one.script == "prod_deploy" or one.script == "stage_deploy"
    end
    local count = 0
    for _, first in ipairs { true, false } do
        for _, one in ipairs(found.scripts) do
            if is_deploy(one) == first and is_wanted(one) then
                run_one(w, one, kinds)
                count = count + 1
            end
        end
    end
    for _, word in ipairs(found.words) do
        assert.is_table(words[word], "no words for the command " .. word)
        for _, argv in ipairs(words[word]) do
            run_words(w, argv)
        end
    end
    assert.equal("", table.concat(w.surprises, "\n"),
        "words for these belong into tests/e2e/canary_spec.lua")
    assert.is_true(w.brought, "no secret was brought to Fly")
    return count
end

local function with_witness(body)
    local server = witness.database()
    local w = witness.new { port = server.port }
    body(w, server)
end

local function is_clean(w)
    assert.equal("", table.concat(w:search_all(), "\n"))
end

describe("planted secrets", function()
    it("would be found in each form, in outputs, files, calls and command lines", function()
        for _, canary in ipairs(canaries.all()) do
            for form, text in pairs(canaries.forms(canary.value)) do
                local found = {}
                canaries.search("x" .. text .. "y", "a text", found)
                assert.is_true(#found > 0 or #text < 8, canary.name .. " as " .. form)
            end
        end
        with_witness(function(w)
            -- A script that gives away what it was told, past dgrun's own ways out.
            w.project:write("scripts/traitor.lua", [[
                local dg = require "dgrun"
                local fs = require "host.fs"
                local url = require("host.secret").from_env "DATABASE_URL"
                local told = dg.proc.run({ argv = { "printenv", "A" }, read_only = true,
                    env = { A = url } }).stdout:gsub("\n", "")
                assert(fs.write("left.txt", told))
                dg.http.post(os.getenv "WITNESS_FLY" .. "/v1/lost", { json = { told = told } })
                dg.proc.run { argv = { "true", told }, env = { B = told } }
                dg.proc.run { argv = { "sleep", "0.2", }, env = { C = url } }
            ]])
            w:run { "--sandbox", "traitor" }
            local all = table.concat(w:search_all(), "\n")
            for _, place in ipairs { "left.txt", "POST /v1/lost", "the arguments of true",
                "the environment of true", "the environment of sleep" } do
                assert.matches(place, all, 1, true)
            end
        end)
    end)

    it("stay where they belong in what carries them", function()
        with_witness(function(w)
            local count = walk(w, function(one)
                return carriers[everything.name(one)] or false
            end)
            assert.equal(#carriers, count)
            is_clean(w)
            assert.is_true(w.called.git > 0 and w.called.python3 > 0)
        end)
    end)

    full_it("stay where they belong, whatever is run", function()
        with_witness(function(w)
            walk(w, function() return true end)
            is_clean(w)
            assert.is_true(w.called.git > 0 and w.called.python3 > 0)
        end)
    end)

    it("are in no file of a local Fly that keeps them", function()
        with_witness(function(w)
            local own = { DGRUN_STDLIB = fs.cwd() / "stdlib" }
            w.trusted = "FLY_MACHINE_ID=" -- a machine
            for _, argv in ipairs { { "--sandbox", "--trace", "prod_deploy", "--ref", "v1.2.0" },
                { "--sandbox", "cron_setup", "--environment", "prod" } } do
                local run = w:run(argv, { env = own })
                assert.equal(0, run.status, run.all)
            end
            assert.is_true(fs.exists(w.project.dir / ".dgrun/sandbox/vault.json"))
            assert.equal(0, w.requests)
            w:run({ "-e", [[
                local child = assert(require("host.proc").spawn { read_only = true,
                    argv = { require("host.fs").real "/proc/self/exe", "sandbox" } })
                for line in function() return child:read() end do
                    print(line.line)
                    if line.line:find "FLY_ACCESS_TOKEN" then
                        child:kill "INT"
                    end
                end
                assert(child:wait().status == 0)]] }, { env = own })
            is_clean(w)
        end)
    end)

    it("are masked where a child prints them, in any form, split over writes", function()
        with_witness(function(w)
            w.trusted = "leak.py"
            w.project:write("leak.py", [[
import base64, html, json, os, sys, urllib.parse
for name, stream in (("A", sys.stdout), ("B", sys.stderr), ("C", sys.stdout), ("D", sys.stdout),
                     ("E", sys.stderr)):
    value = os.environ[name]
    forms = [value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value),
             urllib.parse.quote(value, safe=""), urllib.parse.quote(value),
             urllib.parse.quote_plus(value), str({name: value})]
    forms += value.splitlines()
    if "://" in value:
        password = urllib.parse.urlsplit(value).password
        forms += [password, urllib.parse.unquote(password), "x".join([password, password])]
    for prefix in b"", b"x", b"xy":
        forms.append(base64.b64encode(prefix + value.encode()).decode())
        forms.append(base64.urlsafe_b64encode(prefix + value.encode()).decode())
    for form in forms:
        for i in range(0, len(form), 7):
            stream.write(form[i:i + 7])
            stream.flush()
        stream.write("\n")
print("the end")
sys.exit(3)
]])
            w.project:write("scripts/leaky.lua", [[
                local dg = require "dgrun"
                local s = dg.environment("prod").secrets
                local env = { A = s.SECRET_KEY, B = s.GEMINI_API_KEY, C = s.S3_SECRET_ACCESS_KEY,
                    D = s.GEMINI_SUMMARIZATION_API_KEY, E = s.DATABASE_URL }
                local function leak(expect, on_line)
                    return dg.proc.run { argv = { "python3", "leak.py" }, env = env,
                        expect = expect, read_only = true, on_line = on_line }
                end
                print(s.SECRET_KEY, "x" .. s.SECRET_KEY)
                leak(3, dg.log)
                dg.step("Leak", function() return leak(3).stdout end)
                local child = assert(require("host.proc").spawn {
                    argv = { "python3", "leak.py" }, env = env, read_only = true })
                for line in function() return child:read() end do
                    io.write(line.line:sub(1, 9))
                    io.stdout:flush()
                    io.write(line.line:sub(10), "\n")
                end
                child:wait()
                local told = leak(3).stdout
                dg.effect.note(told)
                dg.effect.write { kind = "a.leak", target = told, summary = told, before = told,
                    after = { [told] = told }, apply = function() return told end }
                leak(0)]])
            for _, argv in ipairs { { "leaky" }, { "--trace", "leaky" }, { "plan", "leaky" } } do
                local run = w:run(argv, { env = { DGRUN_DEBUG = "1" } })
                assert.equal(1, run.status, run.all)
                assert.matches("secret(SECRET_KEY)", run.stdout, 1, true)
                assert.matches("***", run.all, 1, true)
                assert.matches("the end", run.all)
            end
            is_clean(w)
        end)
    end)

    it("are masked where an error carries them", function()
        with_witness(function(w, server)
            local function fails(env, text, argv)
                local run = w:run(argv or { "--sandbox", "--trace", "prod_deploy" }, { env = env })
                assert.is_true(run.status == 1 or run.status == 2, run.all)
                assert.matches(text, run.all)
            end
            -- URLs that libpq, asyncpg and SQLAlchemy do not like, each in its own words.
            local wrong = canaries.url(server.port, "+asyncpg"):gsub("app:", "nobody:")
            fails({ DATABASE_URL = wrong }, "password authentication failed")
            fails({ DATABASE_URL = canaries.url(1, "+asyncpg") }, "cannot connect")
            w.project:write("scripts/alembic.lua", [[
                local dg = require "dgrun"
                local env = dg.environment "prod"
                dg.proc.run { argv = { "alembic", "current" },
                    env = { DATABASE_URL = env.secrets.DATABASE_URL } }]])
            for text, url in pairs {
                ["password authentication failed"] = wrong,
                ["Refused"] = canaries.url(1, "+asyncpg"),
                ["Error"] = canaries.url(server.port, "+asyncpg"):gsub(":%d+/", ":port/"),
            } do
                fails({ DATABASE_URL = url }, text, { "--trace", "alembic" })
                w:run({ "--sandbox", "--trace", "prod_deploy" }, { env = { DATABASE_URL = url } })
            end
            -- What the contract does not let pass is told without its value.
            local plain = canaries.url(server.port)
            for _, url in ipairs { plain, (plain:gsub("://", "//")) } do
                fails({ DATABASE_URL = url }, "must be a URL", { "--trace", "alembic" })
            end
            plain = plain:gsub("app:[^@]+@", function()
                return "app:" .. canaries.password .. "@"
            end)
            w:run({ "--sandbox", "--trace", "prod_deploy" }, { env = { DATABASE_URL = plain } })
            w:run({ "--trace", "alembic" }, { env = { DATABASE_URL = plain } })

            -- An application that tells all it knows when it breaks.
            w.project:edit("alembic/env.py", "import asyncio\n",
                "import asyncio, os, sys\nprint(dict(os.environ), file=sys.stderr)\n"
                .. "raise RuntimeError(os.environ['DATABASE_URL'])\n")
            fails({}, "RuntimeError", { "--sandbox", "--trace", "prod_deploy" })
            assert.matches("RuntimeError: %*%*%*",
                w:run({ "--sandbox", "plan", "prod_deploy" }).all)

            -- Servers that answer with what they were sent: Fly itself, and another one.
            w.echo = "all"
            w.project:write("scripts/echo.lua", [[
                local dg = require "dgrun"
                local s = dg.environment("prod").secrets
                local url = os.getenv "WITNESS_FLY" .. "/echo/v1/apps/x/secrets?q="
                local answer = dg.http.post(url, { headers = { ["X-Key"] = s.S3_ACCESS_KEY_ID },
                    json = { a = s.SECRET_KEY, b = s.GEMINI_API_KEY, c = s.DATABASE_URL,
                        d = s.GEMINI_SUMMARIZATION_API_KEY, e = s.S3_SECRET_ACCESS_KEY } })
                dg.err.raise { code = "test.echo", msg = answer.body, hint = answer.body,
                    cause = dg.err.new { code = "x", msg = answer.body }, body = answer.body }]])
            fails({}, "echo of all", { "--trace", "echo" })
            w.project:write("scripts/sync.lua", [[
                local dg = require "dgrun"
                local env = dg.environment "prod"
                dg.secrets.sync { app = env.app, secrets = env.secrets }]])
            fails({}, "echo of all", { "--sandbox", "--trace", "sync" })
            -- Where the answer is cut, in the middle of each of them.
            for _, value in pairs(canaries.values) do
                w.echo = ("."):rep(199 - math.min(#value - 2, 20)) .. value
                fails({ S3_ACCESS_KEY_ID = value }, "%.%.%.", { "--sandbox", "--trace", "sync" })
            end
            is_clean(w)
        end)
    end)

    it("in a composed token are masked part by part", function()
        with_witness(function(w)
            w.project:write("scripts/token.lua", [[
                local dg = require "dgrun"
                local code = "IFS=,; for part in $T; do echo \"$part\"; done"
                dg.proc.run { argv = { "sh", "-c", code },
                    env = { T = dg.fly.api.token() }, on_line = dg.log }
                print(dg.proc.run({ argv = { "sh", "-c", "env" }, read_only = true }).stdout)]])
            for _, name in ipairs { "FLY_ACCESS_TOKEN", "FLY_API_TOKEN" } do
                local run = w:run({ "token" }, { env = { [name] = canaries.composed_token } })
                assert.equal(0, run.status, run.all)
                assert.matches("***", run.stderr, 1, true)
            end
            w.trusted = "for part in"
            is_clean(w)
        end)
    end)

    it("reach the child that they are given to", function()
        with_witness(function(w)
            w.project:write("scripts/give.lua", [[
                local dg = require "dgrun"
                local s = dg.environment("prod").secrets
                local digest = require "host.digest"
                local code = "import hashlib, os, sys; given = os.environ.get('K')\n"
                    .. "print(hashlib.sha256((given or sys.stdin.read()).encode()).hexdigest())"
                for _, name in ipairs { "SECRET_KEY", "GEMINI_API_KEY", "S3_ACCESS_KEY_ID" } do
                    for _, how in ipairs { { env = { K = s[name] } }, { stdin = s[name] } } do
                        how.read_only, how.argv = true, { "python3", "-c", code }
                        assert(dg.proc.run(how).stdout == digest.sha256(s[name]) .. "\n", name)
                    end
                end]])
            local run = w:run { "give" }
            assert.equal(0, run.status, run.all)
        end)
    end)
end)
