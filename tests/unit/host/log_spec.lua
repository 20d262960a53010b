local fs = require "host.fs"
local log = require "host.log"
local proc = require "host.proc"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local binary = fs.real("/proc/self/exe")

describe("host.log", function()
    it("masks what is written in pieces, on both streams", function()
        local dir = assert(fs.temp_dir("log-spec"))
        assert(fs.write(dir .. "/script.lua", [[
            local log, secret = require "host.log", require "host.secret"
            secret.new("S", "log canary value")
            for c in ("out <log canary value> log can"):gmatch(".") do log.out(c) end
            for c in ("err <log+canary%20value>\n"):gmatch(".") do log.err(c) end
        ]]))
        local result = assert(proc.run { argv = { binary, dir .. "/script.lua" } })
        assert.equal("out <***> log can", result.stdout)
        assert.matches("err <***>\n", result.stderr, 1, true)
        assert(fs.remove(dir, { recursive = true }))
    end)

    it("writes a lot to a reader that is slower", function()
        local dir = assert(fs.temp_dir("log-spec"))
        assert(fs.write(dir .. "/script.lua",
            [[for _ = 1, 100 do require("host.log").out(("x"):rep(99999) .. "\n") end]]))
        local result = assert(proc.run { argv = { binary, dir .. "/script.lua" } })
        assert.equal(10000000, #result.stdout)
        assert(fs.remove(dir, { recursive = true }))
    end)

    it("takes control sequences out of text from elsewhere", function()
        local cases = {
            { "plain é 😀\n\ttext", "plain é 😀\n\ttext" },
            { "\27[31;1mred\27[0m", "red" },
            { "\27]0;title\7after", "after" },
            { "\27]8;;http://x\27\\link\27]8;;\27\\", "link" },
            { "\27P+q\27\\a\27(Bb\27c", "ab" },
            { "\27]0;never closed\nnext line", "\nnext line" },
            { "bell\7 back\8 return\r\n del\127", "bell back return\n del" },
            { "c1 \194\155 2J\194\133x", "c1 x" },
            { "bidi \226\128\174evil\226\128\172 \226\129\166x", "bidi evil x" },
            { "bad \155\255 utf8 \195", "bad \239\191\189\239\191\189 utf8 \239\191\189" },
            { "nul\0 ends with \27", "nul ends with " },
            { "\27[", "" },
        }
        for _, case in ipairs(cases) do
            assert.equal(case[2], log.clean(case[1]))
        end
    end)

    it("knows when nobody reads any more, before anything is written", function()
        local dir = assert(fs.temp_dir("log-spec"))
        assert(fs.write(dir .. "/script.lua", [[
            local log, time = require "host.log", require "host.time"
            log.err(tostring(log.is_open "out") .. "\n")
            while log.is_open "out" do time.sleep(0.01) end
            log.err("gone\n")
        ]]))
        local result = assert(proc.run { timeout = 20, argv = { "sh", "-c",
            '{ "$0" "$1"; echo "$?" >&2; } | true', binary, dir .. "/script.lua" } })
        assert.matches("gone\n0\n$", result.stderr)
        result = assert(proc.run { timeout = 20, argv = { binary, "-e",
            "print(require('host.log').is_open 'out', require('host.log').is_open 'err')" } })
        assert.equal("true\ttrue\n", result.stdout)
        assert(fs.remove(dir, { recursive = true }))
    end)

    it("knows streams and refuses others", function()
        assert.is_false(pcall(log.is_open, "in"))
        assert.equal("boolean", type(log.is_terminal("out")))
        assert.is_false(pcall(log.is_terminal, "in"))
        assert.is_true(log.columns() > 0)
        assert.is_false(pcall(log.out, {}))
    end)
end)
