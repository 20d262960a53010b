local arguments = require "dgrun.cli.arguments"
local err = require "dgrun.core.err"
local exit_status = require "dgrun.cli.exit_status"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local proc = require "host.proc"
local project = require "support.project"

local binary = assert(fs.real("/proc/self/exe"))

local function dgrun(folder, ...)
    local result = assert(proc.run {
        argv = { binary, ... }, cwd = folder, env = { NO_COLOR = "1", GREETING = false },
    })
    return result.status, result.stdout, result.stderr
end

local hello = [[
local dg = require "dgrun"
return dg.pipeline {
  description = "Say hello",
  inputs = { name = { required = true, help = "whom to greet" } },
  run = function(input) print("hello " .. input.name) end,
}
]]

local function scripts(files)
    local all = {}
    for name, text in pairs(files) do
        all["scripts/" .. name] = text
    end
    return project.make(all)
end

describe("the arguments", function()
    it("take options of dgrun before and behind the word", function()
        local a = arguments.parse { "--sandbox", "prod", "--ref", "v1", "--trace", "-C", "/x" }
        assert.same({ "--ref", "v1" }, a.rest)
        assert.equal("prod", a.word)
        assert.is_true(a.sandbox and a.trace)
        assert.equal("/x", a.directory)
    end)

    it("leave what stands behind -- to the script", function()
        assert.same({ "--trace", "-x" }, arguments.parse { "a", "--", "--trace", "-x" }.rest)
    end)

    it("give -e its code and the rest to it", function()
        local a = arguments.parse { "-e", "print(...)", "-e", "b" }
        assert.equal("print(...)", a.code)
        assert.same({ "-e", "b" }, a.rest)
    end)

    it("refuse unknown options with the nearest", function()
        local ok, e = pcall(arguments.parse, { "--sandbx", "a" })
        assert.is_false(ok)
        assert.equal("Did you mean --sandbox?", e.hint)
    end)
end)

describe("the exit status", function()
    it("follows the code of the error", function()
        local function status(code) return exit_status.of(err.new { code = code }) end
        assert.equal(2, status("input.unknown"))
        assert.equal(2, status("script.syntax"))
        assert.equal(3, status("refused.older"))
        assert.equal(3, status("fly.refused"))
        assert.equal(1, status("fly.server"))
        assert.equal(1, status("inputs"))
    end)
end)

describe("dgrun", function()
    it("runs a script by name from the nearest scripts/ upwards", function()
        local root = scripts { ["hello.lua"] = hello, ["deep/x"] = "" }
        local status, out = dgrun(root / "scripts/deep", "hello", "--name", "you")
        assert.equal(0, status)
        assert.matches("^hello you\n", out)
    end)

    it("shows what -e returns and the fields of tables", function()
        local function shown(...)
            local status, out, log = dgrun(project.make {}, "-e", ...)
            assert.equal(0, status, log)
            return out
        end
        assert.equal("2\n", shown "return 1 + 1")
        assert.equal('{ 1, a = "x" }\n', shown 'return { 1, a = "x" }')
        assert.equal("", shown "return nil")
        assert.equal('{ 1 }\ttext\n', shown 'print({ 1 }, "text")')
        assert.equal("-e\tone\ttwo\n", shown("print(arg[0], arg[1], arg[2])", "one", "two"))
    end)

    it("shows the fields of an error that is a table", function()
        local root = scripts { ["bad.lua"] = 'error({ reason = "x", code = 7 })' }
        local status, _, log = dgrun(root, "bad")
        assert.equal(1, status)
        assert.matches('{ code = 7, reason = "x" }', log, 1, true)
    end)

    it("runs a script by path, with its arguments", function()
        local root = project.make { ["tool.lua"] = "print(...)" }
        local status, out = dgrun(root, "tool.lua", "a", "--b")
        assert.equal(0, status)
        assert.equal("a\t--b\n", out)
    end)

    it("works in the directory of -C", function()
        local root = scripts { ["hello.lua"] = hello }
        local status, out = dgrun("/", "-C", root, "hello", "--name=x")
        assert.equal(0, status)
        assert.matches("^hello x\n", out)
    end)

    it("names the nearest script for an unknown one", function()
        local status, _, errors = dgrun(scripts { ["prod_deploy.lua"] = hello }, "prod-deplyo")
        assert.equal(2, status)
        assert.matches("no script or command 'prod%-deplyo'", errors)
        assert.matches("Did you mean prod_deploy%?", errors)
    end)

    it("does not let a name escape scripts/", function()
        local root = scripts { ["hello.lua"] = hello }
        assert(fs.write(root / "outside.lua", "print 'escaped'"))
        assert(fs.symlink(root / "outside.lua", root / "scripts/link.lua"))
        for _, name in ipairs { "link", "..", "Hello", "a b", "hello\n" } do
            local status, out = dgrun(root, name)
            assert.equal(2, status)
            assert.equal("", out)
        end
    end)

    it("refuses wrong inputs before anything runs", function()
        local status, out, errors = dgrun(scripts { ["hello.lua"] = hello }, "hello", "--nam=x")
        assert.equal(2, status)
        assert.equal("", out)
        assert.matches("Did you mean %-%-name%?", errors)
    end)

    it("tells a syntax error with its place", function()
        local status, _, errors = dgrun(scripts { ["x.lua"] = "local a\nlocal = 1" }, "x")
        assert.equal(2, status)
        assert.matches("scripts/x.lua:2:", errors)
    end)

    it("tells an undefined global with its place and no traceback", function()
        local root = scripts { ["x.lua"] = "\nprnt('hello')" }
        local status, _, errors = dgrun(root, "x")
        assert.equal(1, status)
        assert.matches("undefined global 'prnt'", errors)
        assert.matches("scripts/x.lua:2", errors)
        assert.is_nil(errors:find("traceback"))
        assert.matches("traceback", select(3, dgrun(root, "x", "--trace")))
    end)

    it("does not take a plain script for a pipeline because it speaks of one", function()
        local root = scripts { ["x.lua"] = "-- a pipeline (of sorts)\nprint 'ran'" }
        local status, out = dgrun(root, "x")
        assert.equal(0, status)
        assert.equal("ran\n", out)
    end)

    it("says that a declaration cannot wait", function()
        local root = scripts { ["x.lua"] = [[
            local dg = require "dgrun"
            dg.task.sleep(1)
            return dg.pipeline { description = "x", run = print }]] }
        local status, _, errors = dgrun(root, "x")
        assert.equal(1, status)
        assert.matches("cannot wait", errors)
        assert.matches("scripts/x.lua:2", errors)
    end)

    it("says at which step it was cancelled", function()
        local root = scripts { ["x.lua"] = [[
            local dg = require "dgrun"
            dg.run.current().journal = false
            dg.step("Wait", function() print "waiting" dg.task.sleep(60) end)]] }
        for signal, status in pairs { SIGINT = 130, SIGTERM = 143 } do
            local child = assert(proc.spawn {
                argv = { binary, "x" }, cwd = root, env = { NO_COLOR = "1" },
            })
            local errors = {}
            for piece in function() return child:read() end do
                if piece.line == "waiting" then
                    child:kill(signal)
                end
                errors[#errors + 1] = piece.line
            end
            assert.equal(status, child:wait().status)
            assert.matches("Cancelled by " .. signal .. " at step Wait",
                table.concat(errors, "\n"))
        end
    end)

    it("runs a line of Lua", function()
        local status, out = dgrun("/", "-e", "print(1 + 1, ...)", "x")
        assert.equal(0, status)
        assert.equal("2\tx\n", out)
    end)

    it("explains itself without arguments, as wrong usage", function()
        local status, out, errors = dgrun("/")
        assert.equal(2, status)
        assert.equal("", out)
        assert.matches("dgrun list", errors)
    end)
end)

describe("the end of a run", function()
    local converge = [[
local dg = require "dgrun"
local env = dg.environment "prod"
return dg.pipeline {
  description = "Writes a file",
  inputs = { fail = { type = "boolean" } },
  run = function(input)
    dg.step("Write", function()
      local fs = require "host.fs"
      if fs.exists("written") then
        dg.note "written already"
      else
        dg.effect.write { kind = "file.create", target = "written", summary = "create written",
          apply = function() return dg.assert(fs.write("written", "x")) end }
      end
      return { image = "app:v2", release = { id = "x", version = 2 } }
    end)
    if input.fail then
      dg.step("Check", function()
        dg.effect.write { kind = "app.update", target = "app", summary = "update app",
          apply = function()
            dg.err.raise { code = "app.bad", msg = "the app is not healthy", hint = "dgrun logs",
              cause = dg.err.new { code = "x", msg = "connection refused" } }
          end }
      end)
    end
  end,
}
]]
    local environments = [[
environments:
  prod:
    app: app
    url: https://app.fly.dev
    secrets: { sources: [dotenv: .env], required: [KEY] }
]]

    local function make(dotenv)
        return project.make {
            ["scripts/w.lua"] = converge, ["scripts/environments.yaml"] = environments,
            [".env"] = dotenv,
        }
    end

    local function stable(text)
        return (text:gsub("%d+%.%d+s", "0.0s"):gsub("%d+%-%d+%-%w+", "ID"))
    end

    it("says what changed, and when nothing did", function()
        local root = make "KEY=correct-horse"
        local status, out, errors = dgrun(root, "w")
        assert.equal(0, status)
        assert.equal("w\n\nWrite\n  + create written\n  done\n",
            (errors:gsub("done in %d+%.%d+s", "done")))
        assert.equal([[

Done in 0.0s: 1 created.
  + create written

release  v2
image    app:v2
url      https://app.fly.dev
run      ID
]], stable(out))
        status, out = dgrun(root, "w")
        assert.equal(0, status)
        assert.matches("Nothing changed%. Done in", out)
    end)

    it("says what failed, where, why, what is changed and what to do", function()
        local status, out, errors = dgrun(make "KEY=correct-horse", "w", "--fail")
        assert.equal(1, status)
        assert.equal("", out)
        assert.equal([[
The run failed at step Check: the app is not healthy
  where  scripts/w.lua:21
  why    connection refused
  state  1 change was already made:
           + create written
         started, but may not have finished:
           ~ update app
         release  v2
         image    app:v2
         run      ID
  next   dgrun logs
]], stable(errors:match("\n(The run.*)$")))
    end)

    it("names a missing secret before anything is done", function()
        local root = make ""
        local status, _, errors = dgrun(root, "w")
        assert.equal(2, status)
        assert.matches("lacks the required secret KEY %(looked in .env%)", errors)
        assert.is_false(fs.exists(root / "written"))
        assert.is_false(fs.exists(root / ".dgrun"))
    end)
end)

describe("dgrun list", function()
    it("shows scripts with inputs, and a broken one as one line", function()
        local root = scripts {
            ["hello.lua"] = hello, ["broken.lua"] = "x = = 1",
            ["plain.lua"] = "-- Cleans up\nprint 'ran'",
            ["bad.lua"] = 'return require("dgrun").pipeline { description = "x" }',
            ["Not-A-Name.lua"] = hello,
        }
        local status, out, errors = dgrun(root, "list")
        assert.equal(0, status)
        assert.equal("", errors)
        assert.equal([[
bad     cannot be loaded: scripts/bad.lua: dg.pipeline needs the option 'run'
broken  cannot be loaded: scripts/broken.lua:1: unexpected symbol near '='
hello   Say hello
          --name NAME  whom to greet (required)
plain   Cleans up
]], out)
    end)

    it("says which scripts a command hides", function()
        local _, out = dgrun(scripts { ["list.lua"] = hello }, "list")
        assert.matches("a dgrun command has this name", out)
    end)

    it("runs no plain script and lets no declaration act", function()
        local root = scripts {
            ["plain.lua"] = "io.open('ran', 'w'):close()",
            ["eager.lua"] = [[
                require("dgrun.proc").run { argv = { "touch", "ran" } }
                return require("dgrun").pipeline { description = "x", run = print }]],
        }
        assert.equal(0, (dgrun(root, "list")))
        assert.is_false(fs.exists(root / "ran"))
    end)
end)

describe("dgrun help", function()
    it("tells what a pipeline takes", function()
        local status, out = dgrun(scripts { ["hello.lua"] = hello }, "help", "hello")
        assert.equal(0, status)
        assert.equal([[
hello: Say hello

  dgrun hello --name NAME

  --name NAME  whom to greet (required)
]], out)
        assert.equal(out, select(2, dgrun(scripts { ["hello.lua"] = hello }, "hello", "--help")))
    end)

    it("describes a built-in command like any other", function()
        local status, out = dgrun("/", "help", "lock", "hold")
        assert.equal(0, status)
        assert.equal([[
lock hold: freeze a group: no run begins until the group is released

  dgrun lock hold GROUP --reason REASON

  GROUP            the name of the group, usually the app (required)
  --reason REASON  shown to waiting runs (required)
]], out)
        assert.equal(out, select(2, dgrun("/", "lock", "hold", "web", "--help")))
    end)

    it("lists the built-in commands in lines of at most 100 characters", function()
        local _, out = dgrun("/", "help")
        assert.matches("\n  dgrun lock hold|list|release +show who holds which group;", out)
        assert.is_nil(out:find "dgrun complete ")
        for line in out:gmatch "[^\n]+" do
            assert.is_true(format.width(line) <= 100, line)
        end
    end)
end)

describe("dgrun complete", function()
    local function completions(...)
        return select(2, dgrun("/", "complete", "--", ...)):gsub("\t[^\n]*", "")
    end

    it("knows the built-in commands, their actions, and their inputs", function()
        assert.equal("help\nhistory\n", completions "h")
        assert.equal("hold\nlist\nrelease\n", completions("lock", ""))
        assert.equal("--limit\n", completions("history", "--l"))
        assert.equal("--reason\n", completions("lock", "hold", "web", "-"))
        assert.equal("bash\nfish\nzsh\n", completions("completion", ""))
        assert.equal("", completions("version", "-"))
    end)
end)

describe("dgrun plan", function()
    local deploy = [[
local dg = require "dgrun"
return dg.pipeline {
  description = "Deploy",
  run = function()
    local release = dg.step("Release", function()
      return dg.effect.write {
        kind = "fly.release.create", target = "app", summary = "create release",
        apply = function() io.open("ran", "w"):close() end,
      }
    end)
    dg.step("Verify", function() dg.note("image " .. tostring(release.image)) end)
  end,
}
]]

    it("lists the effects and causes none", function()
        local root = scripts { ["deploy.lua"] = deploy }
        local status, out = dgrun(root, "plan", "deploy")
        assert.equal(0, status)
        assert.equal([[
Release
  + create release

Verify
  · image (known after apply)

Plan: 1 to create.
]], out)
        assert.same({ "scripts" }, fs.list(root))
    end)

    it("refuses a script that writes past it", function()
        local root = scripts { ["x.lua"] = "assert(io.open('ran', 'w'))" }
        local status, _, errors = dgrun(root, "plan", "x")
        assert.equal(1, status)
        assert.matches("refused in a plan", errors)
        assert.is_false(fs.exists(root / "ran"))
    end)
end)
