-- Planted secrets must not be found anywhere but in the children they are meant for.
local fs = require "host.fs"
local sample = require "support.sample"
local task = require "dgrun.task"

local canaries = {
    SECRET_KEY = [[cAnAry-"quoted"-%41-ünïcode/\end]],
    GEMINI_API_KEY = "first canary line 7h3\nsecond canary line 9k2",
    S3_SECRET_ACCESS_KEY = "canary+slash/equals==%2F&x=1",
}

local function base64(text)
    return (require("host.digest").base64(text))
end

local function percent(text, safe)
    return (text:gsub("[^%w" .. (safe or "%-._~") .. "]", function(c)
        return ("%%%02X"):format(c:byte())
    end))
end

---The forms in which a value might get out: raw, its lines, JSON, URL, base64 in all alignments.
local function forms_of(value)
    local forms = { value, percent(value), percent(value, "%-._~/"),
        (value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n")) }
    for line in value:gmatch("[^\n]+") do
        forms[#forms + 1] = line
    end
    for shift = 0, 2 do
        local encoded = base64(("x"):rep(shift) .. value)
        local first = math.ceil(shift * 8 / 6) + 1
        local last = math.floor((shift + #value) * 8 / 6)
        forms[#forms + 1] = encoded:sub(first, last)
    end
    return forms
end

local function found_in(text, where, complaints)
    for name, value in pairs(canaries) do
        for _, form in ipairs(forms_of(value)) do
            if text:find(form, 1, true) then
                complaints[#complaints + 1] = ("%s in %s as %q"):format(name, where, form)
            end
        end
    end
end

local function search_files(dir, complaints)
    for _, name in ipairs(fs.list(dir) or {}) do
        local path = dir / name
        if fs.stat(path).type == "directory" then
            search_files(path, complaints)
        else
            found_in(fs.read(path, { limit = 2 ^ 26 }) or "", path, complaints)
        end
    end
end

local function canary_environment(project)
    local env = { FLY_API_TOKEN = nil }
    for name, value in pairs(canaries) do
        env[name] = value
    end
    env.DATABASE_URL = ("sqlite+aiosqlite:///%s/prod.db"):format(project.dir)
    return env
end

---Every command line on the system, until cancelled.
local function watch_command_lines(complaints)
    while true do
        for _, pid in ipairs(fs.list "/proc") do
            if pid:match("^%d+$") then
                local text = fs.read("/proc/" .. pid .. "/cmdline", { limit = 2 ^ 20 })
                if text then
                    found_in(text, "a command line", complaints)
                end
            end
        end
        task.sleep(0.02)
    end
end

describe("secrets", function()
    it("leave no trace of a whole deploy", function()
        local project = sample.new()
        fs.remove(project.dir / ".env.prod")
        local complaints = {}
        local env = canary_environment(project)
        task.scope(function()
            local watcher = task.spawn(function() watch_command_lines(complaints) end)
            for _, argv in ipairs {
                { "--sandbox", "plan", "prod_deploy", "--ref", "v1.1.0" },
                { "--sandbox", "prod_deploy", "--ref", "v1.1.0" },
                { "--sandbox", "--trace", "prod_deploy", "--ref", "v1.2.0" },
                { "--sandbox", "prod_deploy", "--ref", "nosuch" },
            } do
                local run = project:run(argv, { env = env })
                assert.equal(argv[4] == "nosuch" and 2 or 0, run.status, run.all)
                found_in(run.stdout, "standard output", complaints)
                found_in(run.stderr, "standard error", complaints)
            end
            watcher.cancel()
        end)
        search_files(project.dir / ".dgrun", complaints)
        assert.same({}, complaints)
    end)

    it("are masked when a child prints them, split over writes", function()
        local project = sample.new()
        local env = canary_environment(project)
        project:write("scripts/leaky.lua", [[
            local dg = require "dgrun"
            local env = dg.environment "prod"
            dg.proc.run { argv = { "python3", "leak.py" }, env = {
                A = env.secrets.SECRET_KEY, B = env.secrets.GEMINI_API_KEY,
                C = env.secrets.S3_SECRET_ACCESS_KEY }, on_line = dg.log }
            print(env.secrets.SECRET_KEY, "x" .. env.secrets.SECRET_KEY)
            local child = assert(require("host.proc").spawn { argv = { "python3", "leak.py" },
                env = { A = env.secrets.SECRET_KEY, B = env.secrets.GEMINI_API_KEY,
                    C = env.secrets.S3_SECRET_ACCESS_KEY } })
            for line in function() return child:read() end do
                io.write(line.line:sub(1, 9))
                io.stdout:flush()
                io.write(line.line:sub(10), "\n")
            end
            child:wait()
            error("it broke: " .. dg.proc.run({ argv = { "printenv", "A" },
                env = { A = env.secrets.SECRET_KEY }, read_only = true }).stdout)]])
        project:write("leak.py", [[
import base64, json, os, sys, time, urllib.parse
for name in "ABC":
    value = os.environ[name]
    forms = [value, json.dumps(value), json.dumps(value, ensure_ascii=False),
             urllib.parse.quote(value, safe=""), urllib.parse.quote(value),
             base64.b64encode(value.encode()).decode(),
             base64.b64encode(b"x" + value.encode()).decode(),
             base64.b64encode(b"xy" + value.encode()).decode()]
    for form in forms:
        for i in range(0, len(form), 7):
            sys.stdout.write(form[i:i + 7])
            sys.stdout.flush()
        sys.stdout.write("\n")
]])
        local run = project:run({ "leaky" }, { env = env })
        assert.equal(1, run.status, run.all)
        local complaints = {}
        found_in(run.stdout, "standard output", complaints)
        found_in(run.stderr, "standard error", complaints)
        search_files(project.dir / ".dgrun", complaints)
        assert.same({}, complaints)
        assert.matches("secret(SECRET_KEY)", run.stdout, 1, true)
        assert.matches("***", run.stdout, 1, true)
        assert.matches("it broke", run.stderr)
    end)

    it("reach a child's environment, and are not inherited by others", function()
        local project = sample.new()
        project:write("scripts/inherit.lua", [[
            local dg = require "dgrun"
            local env = dg.environment "prod"
            local digest = require "host.digest"
            local seen = dg.proc.run({ argv = { "sh", "-c", "printf %s \"$K\" | sha256sum" },
                env = { K = env.secrets.SECRET_KEY }, read_only = true }).stdout:match("%x+")
            assert(seen == digest.sha256(env.secrets.SECRET_KEY))
            local all = dg.proc.run({ argv = { "env" }, read_only = true }).stdout
            print(all:find("SECRET_KEY", 1, true) and "inherited" or "not inherited")]])
        local run = project:run({ "inherit" }, { env = canary_environment(project) })
        assert.equal(0, run.status, run.all)
        assert.matches("not inherited", run.stdout)
    end)

    it("with a password in a URL are masked too", function()
        local project = sample.new()
        project:write("scripts/url.lua", [[
            local dg = require "dgrun"
            local env = dg.environment "prod"
            dg.migrations.current { database = env.secrets.DATABASE_URL }]])
        local run = project:run({ "url" }, { env = {
            SECRET_KEY = "x-secret-of-this-test", DATABASE_URL =
                "postgresql+asyncpg://app:pa%24%24-canary-word@127.0.0.1:1/db",
        } })
        assert.equal(1, run.status)
        assert.is_nil(run.all:find("canary-word", 1, true), run.all)
        assert.matches("cannot connect", run.stderr)
    end)
end)
