-- host.proc.detach: a child that outlives this process.
local fs = require "host.fs"
local proc = require "host.proc"
local project = require "support.project"
local until_true = require("support.wait").until_true

local function ended(child)
    return until_true(function() return child:status() end)
end

describe("proc.detach", function()
    it("has a session, an input, an output and an environment of its own", function()
        local dir = fs.real(project.make { ["old"] = "x" })
        local script = 'read -r line; echo "line=$line A=$A HOME=${HOME-none} $PWD"; '
            .. 'cut -d" " -f6 /proc/$$/stat; echo "$$" >&2; exit 3'
        local child = assert(proc.detach { argv = { "/bin/sh", "-c", script }, cwd = dir,
            clean_env = true, env = { A = "b" }, output = dir / "old" })
        assert.equal(3, ended(child))
        assert.equal(("line= A=b HOME=none %s\n%d\n%d\n"):format(dir, child:pid(), child:pid()),
            fs.read(dir / "old"))
        assert.equal(tonumber("600", 8), fs.stat(dir / "old").mode)
    end)

    it("reports a signal, and what keeps it from starting", function()
        local dir = project.make {}
        local child = assert(proc.detach { argv = { "/bin/sh", "-c", "kill -9 $$" },
            output = dir / "out" })
        assert.equal(137, ended(child))
        local _, e = proc.detach { argv = { dir / "nothing" }, output = dir / "out" }
        assert.equal("proc.not_found", e.code)
        _, e = proc.detach { argv = { "/bin/sh" }, output = dir / "no/folder" }
        assert.equal("proc.not_found", e.code)
        _, e = proc.detach { argv = { "/bin/sh" }, cwd = dir / "no", output = dir / "out" }
        assert.equal("proc.not_found", e.code)
    end)

    it("is refused in a plan", function()
        local dir = project.make { ["plan.lua"] = [[
            require("host.gate").close()
            local dir = require("dgrun.core.path").dirname(arg[0])
            local _, e = require("host.proc").detach { argv = { "/bin/sh" }, output = dir / "out" }
            require("host.log").out(e.code)
        ]] }
        local result = assert(proc.run { argv = { fs.real "/proc/self/exe", dir / "plan.lua" } })
        assert.equal("plan.write_refused", result.stdout, result.stderr)
        assert.is_false(fs.exists(dir / "out"))
    end)
end)

describe("proc.build", function()
    it("is the linker's id of this binary", function()
        assert.matches("^%x+$", proc.build())
        assert.equal(40, #proc.build())
    end)
end)
