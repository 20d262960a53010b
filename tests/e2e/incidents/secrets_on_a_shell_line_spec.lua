-- Secrets were pasted into a shell line: anybody on the machine could read it, and so could
-- everybody who may read the log of the workflow. It was green.
local canaries = require "support.canaries"
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"
local witness = require "support.leak_harness"
local until_true = require("support.wait").until_true

local SECRET = canaries.values.S3_SECRET_ACCESS_KEY

---What the workflow did; CI runs its lines with -x, and has put the value into them before.
local old_way = "set -ex\nflyctl secrets set --app draft-app-prod S3_SECRET_ACCESS_KEY='%s'\n"

---Stands for flyctl: sets nothing, and takes its time.
local flyctl = [[
#!/bin/sh
echo "Secrets are staged for the first deployment"
while [ ! -e "%s" ]; do sleep 0.02; done
]]

local function temp()
    local dir = fs.real(assert(fs.temp_dir "shell"))
    task.defer(function() fs.remove(dir, { recursive = true }) end)
    return dir
end

---The command lines of all processes of this computer that have a word.
local function command_lines(word)
    local found = {}
    for _, pid in ipairs(fs.list "/proc") do
        local text = pid:match "^%d+$" and fs.read("/proc/" .. pid .. "/cmdline")
        if text and text:find(word, 1, true) then
            found[#found + 1] = text
        end
    end
    return found
end

describe("secrets were pasted into a shell line:", function()
    it("the old way is green, and tells them to the machine and to the log", function()
        local dir = temp()
        assert(fs.write(dir / "flyctl", flyctl:format(dir / "seen"), { mode = "0755" }))
        local seen
        local result
        task.all {
            function()
                result = assert(proc.run { argv = { "sh", "-c", old_way:format(SECRET) },
                    env = { PATH = dir .. ":" .. os.getenv "PATH" }, timeout = 60 })
            end,
            function()
                seen = until_true(function()
                    local lines = command_lines(dir / "flyctl")
                    return lines[1]
                end)
                assert(fs.write(dir / "seen", ""))
            end,
        }
        assert.equal(0, result.status, result.stderr)
        assert.matches(SECRET, seen, 1, true)
        assert.matches(SECRET, result.stderr, 1, true)
    end)

    it("dgrun refuses such a line, in a script and at its own prompt", function()
        local w = witness.new { port = 1 }
        for _, argv in ipairs {
            [[{ "flyctl", "secrets", "set", "S3_SECRET_ACCESS_KEY=" .. secret }]],
            [[{ "sh", "-c", "flyctl secrets set S3_SECRET_ACCESS_KEY='" .. secret .. "'" }]],
        } do
            w.project:write("scripts/line.lua", ([[
                local dg = require "dgrun"
                local secret = dg.environment("prod").secrets.S3_SECRET_ACCESS_KEY
                dg.proc.run { argv = %s }]]):format(argv))
            for _, words in ipairs { { "--trace", "line" }, { "plan", "line" } } do
                local run = w:run(words)
                assert.equal(2, run.status, run.all)
                assert.matches("is a sealed value: everyone can read a command line", run.stderr)
                assert.matches("nothing was changed", run.stderr)
            end
        end
        if fs.exists "scripts/secrets.lua" then
            local run = w.project:run({ "--sandbox", "secrets", "set", "prod",
                "S3_SECRET_ACCESS_KEY=" .. SECRET }, { env = w.env })
            assert.equal(2, run.status, run.all)
            assert.is_nil(run.all:find(SECRET, 1, true), run.all)
        end
        assert.equal("", table.concat(w:search_all(), "\n"))
    end)

    it("dgrun sets them, and nobody sees more than their names", function()
        local w = witness.new { port = 1 }
        w.project:write("scripts/sync.lua", [[
            local dg = require "dgrun"
            local env = dg.environment "prod"
            dg.step("Secrets", function()
                return dg.secrets.sync { app = env.app, secrets = env.secrets }
            end)]])
        local run = w:run { "--sandbox", "--trace", "sync" }
        assert.equal(0, run.status, run.all)
        assert.matches("S3_SECRET_ACCESS_KEY", run.all, 1, true)
        assert.is_true(w.brought)
        local names = {}
        for _, secret in ipairs(w:call("GET", "/v1/apps/draft-app-prod/secrets").secrets) do
            names[secret.name] = true
        end
        assert.is_true(names.S3_SECRET_ACCESS_KEY)
        assert.equal("", table.concat(w:search_all(), "\n"))
    end)
end)
