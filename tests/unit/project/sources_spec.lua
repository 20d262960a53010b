-- The sources of secrets and their contract, with the real age and with small programs in place of
-- password managers.
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local proc = require "host.proc"
local project = require "support.project"
local run = require "dgrun.run"
local secret = require "host.secret"
local task = require "dgrun.core.task"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok, "no error")
    return err.object(e)
end

---A project with this entry of secrets, and other files.
local function with(secrets, files)
    local all = { ["scripts/environments.yaml"] =
        "environments:\n  prod:\n    app: x\n    secrets:\n" .. secrets }
    for name, text in pairs(files or {}) do
        all[name] = text
    end
    local root = project.make(all)
    environment.look_from(root / "scripts")
    for name, text in pairs(files or {}) do
        if name:find "^bin/" then
            assert(fs.write(root / name, text, { mode = "0755" }))
        end
    end
    return root
end

local function secrets_of()
    return environment.complete(environment.get("prod").secrets)
end

local function is(value, text)
    assert.is_true(secret.is(value))
    assert.is_true(value == secret.new("X", text), tostring(value) .. " is another value")
end

---The file encrypted for a fresh key; returns the text of the key.
local function encrypt(root, name, text)
    local function age(argv, stdin)
        local result = assert(proc.run { argv = argv, stdin = stdin, cwd = root })
        assert(result.status == 0, result.stderr)
        return result.stdout
    end
    local key = age { "age-keygen" }
    local recipient = key:match "public key: (%S+)"
    age({ "age", "-r", recipient, "-o", root / name }, text)
    return key
end

describe("a source", function()
    it("gives what those before it do not have, and is not opened in vain", function()
        local root = with([[
      sources: [dotenv: .env.a, dotenv: .env.b, command: [bin/op] ]
      required: [T_FIRST, T_SECOND]
]], { [".env.a"] = "T_FIRST=first-of-a\nT_SECOND=\n",
            [".env.b"] = "T_FIRST=first-of-b\nT_SECOND=second-of-b\n",
            ["bin/op"] = "#!/bin/sh\ntouch asked\necho '{}'\n" })
        local secrets = secrets_of()
        is(secrets.T_FIRST, "first-of-a")
        is(secrets.T_SECOND, "second-of-b")
        assert.is_false(fs.exists(root / "asked"))
    end)

    it("may be a file of the home folder", function()
        local home = project.make { ["keys/prod.env"] = "T_HOME=at home\n" }
        local before = os.getenv "HOME"
        proc.export("HOME", home)
        task.defer(function() proc.export("HOME", before) end)
        with "      sources: [dotenv: ~/keys/prod.env]\n      required: [T_HOME]\n"
        is(secrets_of().T_HOME, "at home")
    end)

    it("takes from the environment only what it gives", function()
        with([[
      sources: [dotenv: .env, env]
      required: [T_FILE, T_VARIABLE]
]], { [".env"] = "T_FILE=of the file\n" })
        proc.export("T_FILE", "of the variable")
        proc.export("T_VARIABLE", "of the other variable")
        local secrets = secrets_of()
        is(secrets.T_FILE, "of the file")
        is(secrets.T_VARIABLE, "of the other variable")
        assert.equal("of the variable", os.getenv "T_FILE")
        assert.is_nil(os.getenv "T_VARIABLE")
        proc.export("T_FILE", nil)
    end)

    it("tells that ${NAME} is not expanded, where the value is used", function()
        with([[
      sources: [dotenv: .env]
      required: [T_URL]
      optional: [T_MEANT]
]], { [".env"] = "A=1\nT_URL=http://${A}@host\nT_MEANT='${A}'\nT_OTHER=${A}\n" })
        local notes
        run.execute({ name = "t", root = "/nowhere", journal = false }, function(r)
            is(secrets_of().T_URL, "http://${A}@host")
            notes = r.notes
        end)
        assert.equal(1, #notes)
        assert.matches("^.env:2: T_URL holds ${…}", notes[1].text)
    end)
end)

describe("an age-encrypted file", function()
    local declared = "      sources: [{ age: .env.age, identity: key.txt }]\n"
        .. "      required: [T_AGE]\n"

    it("is decrypted with the identity that the entry names", function()
        local root = with(declared)
        assert(fs.write(root / "key.txt", encrypt(root, ".env.age",
            "# of production\nexport T_AGE='age: decrypted value'\nT_OTHER=\"more\"\n")))
        is(secrets_of().T_AGE, "age: decrypted value")
        assert.equal("***", secret.redact("age: decrypted value"))
        assert.same({ ".env.age", "key.txt", "scripts" }, fs.list(root))
    end)

    it("is decrypted with the key, or the file, that AGE_IDENTITY holds", function()
        local plain = "      sources: [age: .env.age]\n      required: [T_AGE]\n"
        local root = with(plain)
        local key = encrypt(root, ".env.age", "T_AGE=by the file\n")
        assert(fs.write(root / "identity", key))
        task.defer(function() proc.export("AGE_IDENTITY", nil) end)
        proc.export("AGE_IDENTITY", "identity")
        is(secrets_of().T_AGE, "by the file")
        assert.equal("identity", os.getenv "AGE_IDENTITY")

        proc.export("AGE_IDENTITY", "nosuch")
        environment.look_from(root / "scripts")
        assert.matches("the identity file in AGE_IDENTITY does not exist", caught(secrets_of).msg)

        proc.export("AGE_IDENTITY", key)
        environment.look_from(root / "scripts")
        is(secrets_of().T_AGE, "by the file")
        assert.is_nil(os.getenv "AGE_IDENTITY")
        assert.is_nil(secret.redact(key):find("AGE-SECRET-KEY", 1, true))
        -- It was taken, and serves a second environment too.
        environment.look_from(root / "scripts")
        is(secrets_of().T_AGE, "by the file")
    end)

    it("that is not there has nothing", function()
        with(declared)
        local e = caught(secrets_of)
        assert.equal("secrets.missing", e.code)
        assert.matches("looked in .env.age (no such file)", e.msg, 1, true)
    end)

    it("that cannot be decrypted says why", function()
        local root = with(declared)
        encrypt(root, ".env.age", "T_AGE=for another\n")
        local e = caught(secrets_of)
        assert.equal("secrets.unreadable", e.code)
        assert.matches("cannot read .env.age: the identity file key.txt does not exist", e.msg,
            1, true)

        assert(fs.write(root / "key.txt", encrypt(root, "other.age", "x")))
        environment.look_from(root / "scripts")
        e = caught(secrets_of)
        assert.equal("secrets.unreadable", e.code)
        assert.matches("no identity matched", e.msg)
        assert.is_nil(e.msg:find("report unexpected", 1, true))
        assert.matches("lacks the required secret T_AGE (looked in .env.age (cannot be read))",
            e.msg, 1, true)

        assert(fs.write(root / ".env.age", "not age at all\n"))
        environment.look_from(root / "scripts")
        assert.matches("cannot read .env.age: age exited with status 1", caught(secrets_of).msg)
    end)

    it("with a mistake in it is told with its line, not its words", function()
        local root = with(declared)
        assert(fs.write(root / "key.txt",
            encrypt(root, ".env.age", "T_AGE=good-canary\nbad-canary line\n")))
        local e = caught(secrets_of)
        assert.equal("secrets.missing", e.code)
        assert.matches(".env.age:2: expected '='", e.msg, 1, true)
        assert.is_nil(e.msg:find("canary", 1, true))
    end)

    it("names what is missing to read it", function()
        local root = with "      sources: [age: .env.age]\n      required: [T_AGE]\n"
        encrypt(root, ".env.age", "T_AGE=x\n")
        proc.export("AGE_IDENTITY", nil)
        -- Earlier tests took the variable away for good, so this needs a process of its own.
        local result = assert(proc.run { argv = { fs.real "/proc/self/exe", "-e",
            'require("dgrun.project.environment").complete('
            .. 'require("dgrun").environment("prod").secrets)' },
            cwd = root, timeout = 30 })
        assert.equal(1, result.status)
        assert.matches("no identity is configured", result.stderr)
        assert.matches("set AGE_IDENTITY to a key or its file", result.stderr)
        result = assert(proc.run { argv = { fs.real "/proc/self/exe", "-e",
            'require("dgrun.project.environment").complete('
            .. 'require("dgrun").environment("prod").secrets)' },
            cwd = root, timeout = 30, env = { PATH = root, AGE_IDENTITY = "scripts" } })
        assert.equal(1, result.status)
        assert.matches("program 'age' was not found", result.stderr)
        assert.matches("Install age", result.stderr)
    end)
end)

describe("a command", function()
    local function command(options, script, more)
        return with(([[
      sources: [{ command: [bin/op, item, get, "my prod"]%s }]
      required: [T_KEY]
      optional: [T_PORT, T_FLAG]
%s]]):format(options, more or ""), { ["bin/op"] = "#!/bin/sh\n" .. script })
    end

    it("gives what it prints as JSON", function()
        command("", [[
test "$1 $2 $3" = "item get my prod" || exit 9
test -d scripts || exit 8
echo '{"T_KEY": "of a command", "T_PORT": 5432, "T_FLAG": true, "OTHER": "not of interest"}']])
        local secrets = secrets_of()
        is(secrets.T_KEY, "of a command")
        is(secrets.T_PORT, "5432")
        is(secrets.T_FLAG, "true")
        assert.equal("*** but not of interest", secret.redact("of a command but not of interest"))
        assert.equal("true", secret.redact("true"), "a plain word is no secret")
    end)

    it("gives what stands below a key", function()
        command(", at: data.fields", [[echo '{"data": {"fields": [
            {"label": "T_KEY", "value": "of a field"}, {"label": "notes"}]}}']])
        is(secrets_of().T_KEY, "of a field")
    end)

    it("is asked in a plan too", function()
        command("", [[echo '{"T_KEY": "of a plan"}']])
        local r = run.execute({ name = "t", root = "/nowhere", plan = true }, function()
            is(environment.get("prod").secrets.T_KEY, "of a plan")
        end)
        assert.is_nil(r.error)
        assert.equal(0, #r.effects)
    end)

    it("that fails says why, with what it said", function()
        secret.new("KNOWN", "a-known-secret")
        command("", "echo '{\"T_KEY\": \"canary-of-stdout\"}'; "
            .. "printf 'noise\\n\\033[31m[ERROR] not signed in: a-known-secret\\n' >&2; exit 6")
        local e = caught(secrets_of)
        assert.equal("secrets.unreadable", e.code)
        assert.matches("cannot read `bin/op item get my prod`: op exited with status 6: noise; "
            .. "[ERROR] not signed in: ***", e.msg, 1, true)
        assert.is_nil(tostring(e):find("canary", 1, true))
    end)

    it("that takes too long is stopped", function()
        command(", timeout: 0.3s",
            "echo 'waiting for a fingerprint' >&2; echo canary; exec sleep 60")
        local e = caught(secrets_of)
        assert.matches("did not end within 0.3 s", e.msg, 1, true)
        assert.matches("waiting for a fingerprint", e.msg)
        assert.is_nil(e.msg:find("canary", 1, true))
    end)

    it("that is not there is named", function()
        with "      sources: [command: [no-such-op, x]]\n      required: [T_KEY]\n"
        local e = caught(secrets_of)
        assert.equal("secrets.unreadable", e.code)
        assert.matches("the program 'no-such-op' was not found", e.msg, 1, true)
        assert.matches("Install no-such-op, or correct PATH", e.hint, 1, true)
    end)

    it("that prints something else is told so, without its words", function()
        for script, message in pairs {
            ["true"] = "it printed nothing", ["echo canary"]
                = "invalid JSON: a value is missing, at byte 1",
            ["echo '[\"canary\"'"] = "invalid JSON", ["echo '\"canary\"'"] = "invalid JSON",
            ["echo 5"] = "it is not an object",
            [ [[echo '[{"name":"T_KEY","value":"canary1"},{"name":"T_KEY","value":"c2"}]']] ] =
                "T_KEY occurs twice",
        } do
            command("", script)
            local e = caught(secrets_of)
            assert.equal("secrets.unreadable", e.code)
            assert.matches(message, e.msg, 1, true)
            assert.is_nil(e.msg:find("canary", 1, true))
        end
        command(", at: data.secrets", "echo '{\"data\": {}}'")
        assert.matches("op: it has no 'secrets'", caught(secrets_of).msg)
    end)

    it("ends with a run that is cancelled", function()
        local root = command("", "echo $$ > pid; exec sleep 60")
        local r = run.execute({ name = "t", root = "/nowhere", journal = false }, function(r)
            task.spawn(function()
                task.timeout(20, function()
                    while not (fs.read(root / "pid") or ""):find "\n" do
                        task.sleep(0.01)
                    end
                end)
                run.stop(r)
            end)
            secrets_of()
        end)
        assert.equal("cancelled", r.status)
        local pid = fs.read(root / "pid"):match "%d+"
        assert.is_false(fs.exists("/proc/" .. pid))
    end)
end)

describe("a contract", function()
    it("judges values of every source, and literals", function()
        local root = with([[
      sources: [dotenv: .env]
      required:
        T_DB: { url: [postgresql+asyncpg, sqlite+aiosqlite] }
        T_ENV: { one_of: [dev, stage, prod] }
        T_KEY: { min_length: 16, not_one_of: [changeme-changeme] }
        T_LEVEL: { pattern: "[A-Z]+" }
      literal: { T_ENV: prod, T_LEVEL: INFO }
]], { [".env"] = "T_DB=postgresql+asyncpg://u:p@h/d\nT_KEY=sixteen-letters!\n" })
        local secrets = secrets_of()
        assert.equal("prod", secrets.T_ENV)
        is(secrets.T_KEY, "sixteen-letters!")

        assert(fs.write(root / ".env", "T_DB=postgres://u:canary-p@h/d\nT_KEY=changeme-changeme\n"))
        local yaml = assert(fs.read(root / "scripts/environments.yaml"))
        assert(fs.write(root / "scripts/environments.yaml",
            (yaml:gsub("T_ENV: prod, T_LEVEL: INFO", "T_ENV: prd, T_LEVEL: info"))))
        environment.look_from(root / "scripts")
        local e = caught(secrets_of)
        assert.equal("secrets.invalid", e.code)
        assert.same({ "T_DB", "T_ENV", "T_KEY", "T_LEVEL" }, e.broken)
        assert.matches("T_DB must be a URL of postgresql+asyncpg or sqlite+aiosqlite "
            .. "(from .env:1); it lacks the driver: postgresql+asyncpg://", e.msg, 1, true)
        assert.matches("T_ENV must be dev, stage or prod (from a literal)", e.msg, 1, true)
        assert.matches("T_KEY must not be changeme-changeme (from .env:2)", e.msg, 1, true)
        assert.matches("T_LEVEL must match [A-Z]+ (from a literal)", e.msg, 1, true)
        assert.is_nil(e.msg:find("canary", 1, true))
        assert.matches("Correct the value where it comes from, or the rule", e.hint)
    end)

    it("judges optional ones only where there is a value", function()
        with([[
      sources: [dotenv: .env]
      optional: { T_NONE: { min_length: 9 }, T_SHORT: { min_length: 9 } }
]], { [".env"] = "T_SHORT=short\n" })
        assert.same({ "T_SHORT" }, caught(secrets_of).broken)
    end)

    it("lets a literal win over the sources", function()
        with([[
      sources: [dotenv: .env]
      required: [T_ENV]
      literal: { T_ENV: prod }
]], { [".env"] = "T_ENV=stage\n" })
        assert.equal("prod", secrets_of().T_ENV)
    end)

    it("does not hide words that it allows for all to see", function()
        with([[
      sources: [dotenv: .env]
      required: { T_ENV: { one_of: [t-stage, t-prod] } }
]], { [".env"] = "T_ENV=t-stage\n" })
        is(secrets_of().T_ENV, "t-stage")
        assert.equal("draft-app-t-stage", secret.redact("draft-app-t-stage"))
    end)

    it("is told once for all environments: what is missing, broken, unreadable", function()
        local root = project.make {
            ["scripts/environments.yaml"] = [[
environments:
  stage:
    app: s
    secrets:
      sources: [dotenv: .env.stage]
      required: [T_ONE, T_TWO: { url: https }]
  prod:
    app: p
    secrets:
      sources: [dotenv: .env.prod, command: [no-such-op] ]
      required: [T_THREE]
]],
            [".env.stage"] = "T_TWO=http-canary\nT_OEN=typo\n",
            [".env.prod"] = "T_THREE='open-canary",
        }
        environment.look_from(root / "scripts")
        environment.get "stage"
        environment.get "prod"
        local e = caught(environment.resolve_all)
        assert.equal("secrets.unreadable", e.code)
        for _, text in ipairs {
            "environment 'stage' lacks the required secret T_ONE (looked in .env.stage)",
            "environment 'stage' breaks a rule: T_TWO must be a URL of https (from .env.stage:1)",
            "environment 'prod' cannot read .env.prod:1: the quote",
            "environment 'prod' cannot read `no-such-op`: the program 'no-such-op' was not found",
            "environment 'prod' lacks the required secret T_THREE (looked in .env.prod (cannot be "
                .. "read) and then `no-such-op` (cannot be read))",
        } do
            assert.matches(text, e.msg, 1, true)
        end
        assert.matches(".env.stage has T_OEN: did you mean T_ONE?", e.hint, 1, true)
        assert.is_nil(tostring(e):find("canary", 1, true))
        assert.equal(1, require("dgrun.cli.exit_status").of(e))
        e.code = "secrets.invalid"
        assert.equal(2, require("dgrun.cli.exit_status").of(e))
    end)

    it("counts a file that is written wrong as bad input", function()
        with("      sources: [dotenv: .env]\n      optional: [T_X]\n", { [".env"] = "T_X\n" })
        local e = caught(secrets_of)
        assert.equal("secrets.invalid", e.code)
        assert.equal(2, require("dgrun.cli.exit_status").of(e))
    end)
end)
