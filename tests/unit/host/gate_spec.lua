-- A closed gate stays closed, so each case is a dgrun of its own.
local fs = require "host.fs"
local proc = require "host.proc"

local binary = fs.real("/proc/self/exe")

describe("host.gate", function()
    local dir

    before_each(function() dir = assert(fs.temp_dir("gate-spec")) end)
    after_each(function() assert(fs.remove(dir, { recursive = true })) end)

    ---What the script prints, with `dir` and the modules at hand.
    local function output_of(body)
        local script = dir .. "/script.lua"
        assert(fs.write(script, ([[
            local fs, gate, log = require "host.fs", require "host.gate", require "host.log"
            local dir = %q
            local function say(value, e)
                log.out((value and "done" or e.code .. ": " .. e.msg) .. "\n")
            end
        ]]):format(dir) .. body))
        local result = assert(proc.run { argv = { binary, script } })
        assert.equal(0, result.status, result.stderr)
        return result.stdout
    end

    it("refuses every write once it is closed", function()
        assert(fs.write(dir .. "/a", "before"))
        assert(fs.mkdir(dir .. "/folder"))
        local refused = output_of [[
            gate.close()
            say(fs.write(dir .. "/a", "after"))
            say(fs.append(dir .. "/a", "after"))
            say(fs.mkdir(dir .. "/new"))
            say(fs.remove(dir .. "/a"))
            say(fs.remove(dir, { recursive = true }))
            say(fs.rename(dir .. "/a", dir .. "/b"))
            say(fs.copy(dir .. "/a", dir .. "/b"))
            say(fs.symlink(dir .. "/a", dir .. "/b"))
            say(fs.lock(dir .. "/lock"))
        ]]
        local count = 0
        for line in refused:gmatch("[^\n]+") do
            assert.matches("^plan%.write_refused: fs%.%w+: .*gate%-spec.*because a plan", line)
            count = count + 1
        end
        assert.equal(9, count)
        assert.same({ "a", "folder", "script.lua" }, fs.list(dir))
        assert.equal("before", fs.read(dir .. "/a"))
    end)

    it("lets temporary folders and reads pass", function()
        assert.equal("false\ndone\ntrue\ndone\ndone\ndone\ndone\n", output_of [[
            log.out(tostring(gate.closed()) .. "\n")
            say(fs.write(dir .. "/a", "before"))
            gate.close()
            log.out(tostring(gate.closed()) .. "\n")
            local temp = fs.temp_dir("gate-spec-plan")
            say(fs.mkdir(temp .. "/x/y"))
            say(fs.copy(dir .. "/a", temp .. "/x/y/a"))
            say(fs.read(temp .. "/x/y/a"))
            say(fs.remove(temp, { recursive = true }))
        ]])
    end)

    it("sees through links and dots", function()
        assert(fs.mkdir(dir .. "/allowed"))
        assert(fs.mkdir(dir .. "/outside"))
        assert(fs.symlink(dir .. "/outside", dir .. "/allowed/out"))
        assert(fs.symlink(dir .. "/outside/new", dir .. "/allowed/dangling"))
        local said = output_of [[
            gate.allow(dir .. "/allowed")
            gate.close()
            say(fs.write(dir .. "/allowed/fine", ""))
            say(fs.write(dir .. "/outside/../allowed/fine", ""))
            say(fs.write(dir .. "/allowed/out/file", ""))
            say(fs.write(dir .. "/allowed/../outside/file", ""))
            say(fs.mkdir(dir .. "/allowed/new/../../outside/x"))
            say(fs.append(dir .. "/allowed/dangling", ""))
            say(fs.write(dir .. "/allowed-not/file", ""))
        ]]
        local codes = said:gsub(":[^\n]*", "")
        assert.equal("done\ndone\n" .. ("plan.write_refused\n"):rep(5), codes)
        assert.same({}, fs.list(dir .. "/outside"))
    end)

    it("opens only folders that exist, by their full path", function()
        local gate = require "host.gate"
        assert.is_false(pcall(gate.allow, "relative"))
        assert.is_false(pcall(gate.allow, dir .. "/none"))
        assert.is_false(pcall(gate.allow))
    end)
end)
