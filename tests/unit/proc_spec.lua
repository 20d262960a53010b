local effect = require "dgrun.run.effect"
local fs = require "host.fs"
local proc = require "dgrun.proc"
local run = require "dgrun.run"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    return e
end

local function in_run(f, plan)
    return run.execute({ name = "test", root = ".", plan = plan, journal = false }, f)
end

describe("dgrun.proc", function()
    it("gives output, and raises for a status that was not expected", function()
        assert.equal("hi\n", proc.run { argv = { "echo", "hi" }, read_only = true }.stdout)
        local e = caught(proc.run, {
            argv = { "sh", "-c", "echo working; echo no such table >&2; exit 3" },
        })
        assert.equal("proc.exit_status", e.code)
        assert.equal(3, e.status)
        assert.matches("exited with status 3: no such table", e.msg)
        local function status(expect)
            return proc.run { argv = { "sh", "-c", "exit 3" }, expect = expect }.status
        end
        assert.equal(3, status "any")
        assert.equal(3, status { 0, 3 })
        assert.equal(3, status(3))
        assert.equal("proc.not_found", caught(proc.run, { argv = { "no-such-program" } }).code)
        assert.matches("signal 9", caught(proc.run, { argv = { "sh", "-c", "kill -9 $$" } }).msg)
    end)

    it("gives lines while they come", function()
        local lines = {}
        local r = proc.run {
            argv = { "sh", "-c", "echo a; echo b; exit 2" }, expect = 2,
            on_line = function(line, stream) lines[#lines + 1] = stream .. " " .. line end,
        }
        assert.same({ "stdout a", "stdout b" }, lines)
        assert.equal(2, r.status)
        local e = caught(proc.run, {
            argv = { "sh", "-c", "echo last words; exit 1" }, on_line = function() end,
        })
        assert.matches("last words", e.msg)
    end)

    it("is an effect unless it only reads", function()
        local dir = assert(fs.temp_dir("proc-"))
        local function script()
            local result = proc.run {
                argv = { "touch", dir .. "/made" }, summary = "make the file",
            }
            proc.run { argv = { "true" }, read_only = true }
            return effect.is_unknown(result)
        end
        local planned = in_run(script, true)
        assert.equal("done", planned.status)
        assert.same({ "make the file", "planned" },
            { planned.effects[1].summary, planned.effects[1].status })
        assert.equal(1, #planned.effects)
        assert.is_true(planned.result)
        assert.is_false(fs.exists(dir .. "/made"))
        local done = in_run(script)
        assert.equal("done", done.effects[1].status)
        assert.is_true(fs.exists(dir .. "/made"))
        fs.remove(dir, { recursive = true })
    end)

    it("runs nothing when what it creates is there, which a plan tells too", function()
        local dir = assert(fs.temp_dir("proc-"))
        local function script()
            return proc.run { argv = { "touch", "made" }, cwd = dir, creates = "made",
                summary = "make the file" }
        end
        assert.equal(1, #in_run(script, true).effects)
        assert.equal(1, #in_run(script).effects)
        for _, plan in ipairs { false, true } do
            local r = in_run(script, plan)
            assert.same({ 0, 0 }, { #r.effects, r.result.status })
            assert.equal("make the file: made exists, nothing to run", r.notes[1].text)
        end
        fs.remove(dir, { recursive = true })
    end)

    it("asks the script whether the program changed anything", function()
        local function unchanged(word)
            local r = in_run(function()
                proc.run { argv = { "echo", word },
                    changed = function(result) return result.stdout == "changed\n" end }
            end)
            return { r.status, r.effects[1].status, r.effects[1].unchanged }
        end
        assert.same({ "done", "done", false }, unchanged "changed")
        assert.same({ "done", "done", true }, unchanged "same")
        local r = in_run(function()
            proc.run { argv = { "true" }, changed = function() error "no" end }
        end)
        assert.same({ "failed", "failed" }, { r.status, r.effects[1].status })
    end)

    it("ends a spawned child with its task", function()
        local pid
        require("dgrun.core.task").scope(function()
            local child = proc.spawn { argv = { "sh", "-c", "echo up; sleep 60" } }
            pid = child:pid()
            assert.equal("up", (proc.lines(child)()))
        end)
        assert.is_false(fs.exists("/proc/" .. pid .. "/exe"))
    end)

    it("refuses to write where the gate is closed", function()
        local r = assert(require("host.proc").run {
            argv = { fs.real "/proc/self/exe", "-e", [[
                    require("host.gate").close()
                    local host = require "host.proc"
                    local dir = os.getenv "DIR"
                    local _, e = host.run { argv = { "touch", dir .. "/a" } }
                    print(e.code)
                    _, e = host.spawn { argv = { "touch", dir .. "/b" } }
                    print(e.code)
                    print(host.run { argv = { "true" }, read_only = true }.status)
                    _, e = require("host.git").tag { dir = dir, name = "x", commit = "HEAD" }
                    print(e.code)
                    _, e = require("host.git").export { git_dir = dir, into = dir .. "/x",
                        index = dir .. "/i", commit = ("0"):rep(40) }
                    print(e.code)
                ]] },
            env = { DIR = "/tmp" },
        })
        local refused = "plan.write_refused"
        local wanted = { refused, refused, "0", refused, refused, "" }
        assert.equal(table.concat(wanted, "\n"), r.stdout)
    end)
end)
