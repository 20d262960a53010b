-- Runs that are looked at, resumed and held, as people do it on the command line.
local fs = require "host.fs"
local host_task = require "host.task"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local project = require "support.project"
local repository = require "support.repository"
local scripts = require "support.scripts"
local task = require "dgrun.core.task"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

---A pipeline of three steps; the second fails while the file `broken` is there.
local three = [[
local dg = require "dgrun"
local env = dg.environment "prod"

local function put(name, once)
    return dg.effect.write { kind = "file.create", target = name, summary = "write " .. name,
        after = { name = name }, once = once,
        apply = function()
            require("host.fs").append(name, "x")
            return { size = 1 }
        end }
end

return dg.pipeline {
    description = "Three steps",
    inputs = { word = { default = "hello" }, wait = { type = "integer", default = 0 } },
    run = function(input)
        local first = dg.step("First", function()
            put "first"
            return { word = input.word, token = env.secrets.TOKEN, list = { 1, 2 } }
        end)
        dg.step("Second", function()
            put("second", "once")
            dg.task.sleep(input.wait)
            if require("host.fs").exists "broken" then
                require("dgrun.core.err").raise { code = "x.broken", msg = "it is broken" }
            end
        end)
        dg.step("Third", function()
            assert(#first.list == 2 and first.token == env.secrets.TOKEN)
            put "third"
            return { word = first.word }
        end)
    end,
}
]]

local environments = [[
environments:
  prod:
    app: web
    secrets: { sources: [env], required: [TOKEN] }
]]

local function new_project(files)
    local all = { ["scripts/three.lua"] = three, ["scripts/environments.yaml"] = environments }
    for name, text in pairs(files or {}) do
        all[name] = text
    end
    return project.make(all)
end

local function dgrun(root, ...)
    local result = assert(proc.run { argv = { binary, ... }, cwd = root,
        env = { NO_COLOR = "1", TOKEN = "correct-horse-battery" } })
    result.all = result.stdout .. result.stderr
    return result
end

local function expect(status, result)
    assert.equal(status, result.status, result.all)
    return result.all
end

local function last_id(root)
    return json.decode(dgrun(root, "history", "--limit", "1", "--json").stdout).id
end

---A pipeline that installs files into its checkout, and fails while `broken` is in the project.
local installing = [[
local dg = require "dgrun"
local fs = require "host.fs"

return dg.pipeline {
    description = "Installs, then uses what it installed",
    run = function()
        local source = dg.step("Checkout", function() return dg.git.checkout { ref = "HEAD" } end)
        dg.step("Install", { files = true }, function()
            fs.append("installed", "x")
            assert(fs.write(source.dir / "library", "text"))
        end)
        dg.step("Look", { always = true }, function() fs.append("looked", "x") end)
        dg.step("Use", function()
            assert(fs.read(source.dir / "library") == "text")
            fs.write("folder", source.dir)
            assert(not fs.exists "broken", "it is broken")
        end)
    end,
}
]]

local function broken_installation()
    local root = repository.new()
    repository.commit(root, { ["scripts/install.lua"] = installing })
    assert(fs.write(root / "broken", ""))
    expect(1, dgrun(root, "install"))
    return root, fs.read(root / "folder")
end

describe("the folder of a run that failed", function()
    it("is where resume continues, and is removed when the run is done", function()
        local root, folder = broken_installation()
        assert.equal("text", fs.read(folder / "library"))
        fs.remove(root / "broken")
        local all = expect(0, dgrun(root, "resume"))
        assert.matches("Install  already done", all, 1, true)
        assert.equal("x", fs.read(root / "installed"))
        assert.equal("xx", fs.read(root / "looked"))
        assert.equal(folder, fs.read(root / "folder"))
        assert.is_false(fs.exists(folder))
    end)

    it("is made again when it is gone, by the checkout and the steps with files = true", function()
        local root, folder = broken_installation()
        fs.remove(folder:match "^(.*)/", { recursive = true })
        fs.remove(root / "broken")
        local all = expect(0, dgrun(root, "resume"))
        assert.matches("Checkout  already done", all, 1, true)
        assert.matches("step Install runs again: the files it created are gone", all, 1, true)
        assert.equal("xx", fs.read(root / "installed"))
    end)

    it("is removed by the next run of the script", function()
        local root, folder = broken_installation()
        expect(1, dgrun(root, "install"))
        local second = fs.read(root / "folder")
        assert.same({ false, true }, { fs.exists(folder), fs.exists(second) })
        fs.remove(root / "broken")
        expect(0, dgrun(root, "install"))
        assert.is_false(fs.exists(second))
        assert.is_false(fs.exists(fs.read(root / "folder")))
    end)
end)

describe("dgrun resume", function()
    it("goes on where a run failed: finished steps return what they returned", function()
        local root = new_project { broken = "" }
        expect(1, dgrun(root, "three", "--word", "hi"))
        fs.remove(root / "broken")
        local text = expect(0, dgrun(root, "resume"))
        assert.matches("First  already done", text, 1, true)
        assert.matches("attempt 2 of", text)
        -- What must happen once did; the step that was interrupted ran again.
        assert.equal("x", fs.read(root / "first"))
        assert.equal("x", fs.read(root / "second"))
        assert.equal("x", fs.read(root / "third"))
        local shown = json.decode(dgrun(root, "show", "--json").stdout)
        assert.equal("done", shown.status)
        assert.equal(2, shown.attempt)
        assert.same({ word = "hi" }, shown.steps[3].result)
        assert.same({ ["$secret"] = "TOKEN" }, shown.steps[1].result.token)
        assert.equal(3, #shown.effects)
    end)

    it("goes on where a run was killed", function()
        local root = new_project()
        local script = scripts.dgrun({ root = root, env = { TOKEN = "correct-horse-battery" } },
            "three", "--wait", "60")
        script.said "write second"
        script.kill "SIGKILL"
        script.ended()
        assert.matches("killed", expect(0, dgrun(root, "history")))
        assert.matches("Second: killed", expect(0, dgrun(root, "show")), 1, true)
        -- It would wait again: what counts is that it begins with the second step.
        local again = scripts.dgrun({ root = root, env = { TOKEN = "correct-horse-battery" } },
            "resume")
        again.said "already done"
        again.said "Second"
        local busy = dgrun(root, "resume", last_id(root))
        assert.equal(4, busy.status, busy.all)
        assert.matches("is still running", busy.all)
        again.kill "SIGINT"
        assert.equal(130, again.ended().status)
        assert.matches("dgrun resume", again.text())
    end)

    it("says so when there is nothing to resume", function()
        local root = new_project()
        assert.matches("no interrupted run", expect(2, dgrun(root, "resume")))
        expect(0, dgrun(root, "three"))
        assert.matches("no interrupted run", expect(2, dgrun(root, "resume")))
        assert.matches("has finished", expect(2, dgrun(root, "resume", last_id(root))))
        assert.matches("no run 'nope'", expect(2, dgrun(root, "resume", "nope")))
        expect(1, dgrun(root, "-e", "require('dgrun').step('A', function() error 'x' end)"))
        assert.matches("which is not recorded", expect(2, dgrun(root, "resume")))
    end)

    it("goes on only with the same script and commit, or when it is told to", function()
        local root = new_project { broken = "" }
        repository.git(root, { "init", "-q", "-b", "main" })
        repository.commit(root, {})
        expect(1, dgrun(root, "three"))
        fs.remove(root / "broken")
        assert(fs.write(root / "scripts/three.lua", (three:gsub('put "third"', 'put "fourth"')
            :gsub('"First"', '"Begin"'))))
        repository.commit(root, {})
        local text = expect(3, dgrun(root, "resume"))
        assert.matches("the repository is at", text)
        assert.matches("step Begin is new", text)
        assert.matches("step First is gone", text)
        assert.matches("step Third is different", text)
        assert.matches("--force", text, 1, true)
        text = expect(0, dgrun(root, "resume", "--force"))
        assert.matches("step Third is different", text)
        assert.equal("x", fs.read(root / "fourth"))
    end)

    it("compares the modules in scripts/lib/ too", function()
        local root = new_project {
            ["scripts/uses.lua"] = [[
local dg = require "dgrun"
local words = require "words"
return dg.pipeline { description = "Says a word", run = function()
    dg.step("Say", function() dg.note(words.greeting) end)
    assert(not require("host.fs").exists "broken", "it is broken")
end }]],
            ["scripts/lib/words.lua"] = 'return { greeting = "hello" }\n', broken = "",
        }
        assert.matches("hello", expect(1, dgrun(root, "uses")), 1, true)
        assert.is_nil(dgrun(root, "list").stdout:find("words", 1, true))
        fs.remove(root / "broken")
        assert(fs.write(root / "scripts/lib/words.lua", 'return { greeting = "goodbye" }\n'))
        local text = expect(3, dgrun(root, "resume"))
        assert.matches("scripts/lib/words.lua is different", text, 1, true)
        assert.is_nil(text:find("scripts/uses.lua:", 1, true))
        assert(fs.write(root / "scripts/lib/words.lua", 'return { greeting = "hello" }\n'))
        expect(0, dgrun(root, "resume"))
        assert(fs.write(root / "scripts/lib/words.lua", "return {"))
        assert.matches("scripts/lib/words.lua:1", expect(2, dgrun(root, "uses")), 1, true)
        assert.matches("no file 'scripts/lib/nowhere.lua'",
            dgrun(root, "-e", 'require "nowhere"').all, 1, true)
    end)

    it("does not keep an argument that holds a secret", function()
        local root = new_project { broken = "" }
        expect(1, dgrun(root, "three", "--word", "correct-horse-battery"))
        assert.matches("contained a secret", expect(2, dgrun(root, "resume")))
        local bytes = assert(fs.read(root / ".dgrun/state.db"))
        assert.is_nil(bytes:find("correct-horse", 1, true))
    end)

    it("runs a step again whose secret is not there any more", function()
        local root = new_project { broken = "" }
        expect(1, dgrun(root, "three"))
        fs.remove(root / "broken")
        assert(fs.write(root / "scripts/environments.yaml",
            (environments:gsub("required", "optional"))))
        local result = assert(proc.run { argv = { binary, "resume" }, cwd = root,
            env = { TOKEN = false } })
        assert.equal(0, result.status, result.stdout .. result.stderr)
        assert.matches("step First runs again", result.stderr)
        assert.equal("xx", fs.read(root / "first"))
    end)
end)

describe("dgrun history and show", function()
    it("tell nothing where nothing was, and make nothing", function()
        local root = new_project()
        assert.matches("No matching runs", expect(0, dgrun(root, "history")))
        assert.equal("[]", dgrun(root, "lock", "list", "--json").stdout:match("%[%]"))
        assert.matches("no runs yet", expect(2, dgrun(root, "show")))
        assert.is_false(fs.exists(root / ".dgrun"))
    end)

    it("tell of runs, newest first, those that fit", function()
        local root = new_project()
        expect(0, dgrun(root, "three", "--word", "one"))
        assert(fs.write(root / "broken", ""))
        expect(1, dgrun(root, "three", "--word", "two"))
        local text = expect(0, dgrun(root, "history"))
        local two, one = text:find("--word two", 1, true), text:find("--word one", 1, true)
        assert.is_true(two < one)
        assert.is_nil(expect(0, dgrun(root, "history", "--status", "failed")):find("--word one", 1,
            true))
        assert.is_nil(expect(0, dgrun(root, "history", "--limit", "1")):find("--word one", 1, true))
        assert.matches("No matching runs", expect(0, dgrun(root, "history", "--script", "other")))
        assert.matches("%-%-word one", expect(0, dgrun(root, "history", "--here", "--since",
            "1h")))
        assert.matches("Did you mean %-%-limit", expect(2, dgrun(root, "history", "--limt", "1")))
        local shown = expect(0, dgrun(root, "show"))
        for _, part in ipairs { "three  --word two", "status   failed", "First: done",
            "+ write first", "name: first", "Second: failed", "it is broken",
            "scripts/three.lua:", "next   " } do
            assert.matches(part, shown, 1, true)
        end
        local id = last_id(root)
        assert.matches(id, expect(0, dgrun(root, "show", id:sub(-4))), 1, true)
        assert.matches("several run ids", expect(2, dgrun(root, "show", "20")))
    end)
end)

local grouped = [[
local dg = require "dgrun"
return dg.pipeline {
    description = "One at a time",
    concurrency = { group = "web", when_busy = %q },
    inputs = { wait = { type = "integer", default = 0 } },
    run = function(input)
        dg.step("Only", function()
            dg.task.sleep(input.wait)
            dg.effect.write { kind = "file.create", target = "f", summary = "write f",
                apply = function() require("host.fs").append("f", "x") end }
        end)
    end,
}
]]

describe("dgrun lock", function()
    it("freezes a group with a reason, until it is released", function()
        local root = project.make { ["scripts/fail.lua"] = grouped:format "fail",
            ["scripts/wait.lua"] = grouped:format "wait" }
        assert.matches("No locks are held", expect(0, dgrun(root, "lock", "list")))
        assert.matches("--reason is required", expect(2, dgrun(root, "lock", "hold", "web")), 1,
            true)
        expect(0, dgrun(root, "lock", "hold", "web", "--reason", "an incident"))
        assert.matches("an incident", expect(0, dgrun(root, "lock", "list")))
        assert.matches("an incident",
            expect(4, dgrun(root, "lock", "hold", "web", "--reason", "another")))
        local text = expect(4, dgrun(root, "fail"))
        assert.matches("an incident", text)
        assert.matches("dgrun lock release web", text, 1, true)
        assert.is_false(fs.exists(root / "f"))
        local waiting = scripts.dgrun({ root = root, env = {} },
            "wait")
        waiting.said "an incident"
        expect(0, dgrun(root, "lock", "release", "web"))
        assert.equal(0, waiting.ended().status, waiting.text())
        assert.matches("no one holds", expect(2, dgrun(root, "lock", "release", "web")))
        -- The local Fly is another world.
        expect(0, dgrun(root, "--sandbox", "lock", "hold", "web", "--reason", "a trial"))
        assert.matches("a trial", expect(4, dgrun(root, "--sandbox", "fail")))
        assert.is_nil(dgrun(root, "fail").stderr:find "a trial")
        expect(0, dgrun(root, "lock", "release", "sandbox/web"))
    end)

    it("tells who holds a group, and takes it away", function()
        local root = project.make { ["scripts/fail.lua"] = grouped:format "fail" }
        local holder = scripts.dgrun({ root = root, env = {} },
            "fail", "--wait", "60")
        holder.said "Only"
        local text = expect(4, dgrun(root, "fail"))
        assert.matches("web is busy", text)
        assert.matches("at step Only", text)
        assert.matches("pid " .. holder.pid, text, 1, true)
        text = expect(0, dgrun(root, "lock", "list"))
        assert.matches("web is held by", text)
        local data = json.decode(dgrun(root, "lock", "list", "--json").stdout)
        assert.equal("holding", data.tickets[1].state)
        assert.equal("Only", data.tickets[1].step)
        assert.matches("--force", expect(3, dgrun(root, "lock", "release", "web")), 1, true)
        expect(0, dgrun(root, "lock", "release", "web", "--force"))
        assert.equal(4, holder.ended().status, holder.text())
        assert.matches("no longer holds web", holder.text())
        assert.is_false(fs.exists(root / "f"))
        assert.matches("Did you mean 'release'", expect(2, dgrun(root, "lock", "relese", "web")))
    end)
end)

describe("a program that a run starts", function()
    it("gets the secrets of an environment, and is no change when it says so", function()
        local root = new_project { ["scripts/quiet.lua"] = [[
local dg = require "dgrun"
local env = dg.environment "prod"
return dg.pipeline { description = "Changes nothing", run = function()
    dg.step("Ask", function()
        dg.proc.run { argv = { "sh", "-c", 'test "$TOKEN" = correct-horse-battery && echo same' },
            env = env.secrets, changed = function(result) return result.stdout ~= "same\n" end }
    end)
end }]] }
        local text = expect(0, dgrun(root, "quiet"))
        assert.matches("Nothing changed", text, 1, true)
        assert.is_nil(text:find("correct-horse", 1, true))
    end)
end)

---Answers each request with 201; what it was asked, and its address.
local function listener()
    local server = assert(require("host.server").listen {})
    local seen = {}
    local serving = host_task.spawn(function()
        for request in function() return server:accept() end do
            seen[#seen + 1] = request.method .. " " .. request.path
            request:reply { status = 201, body = "made" }
        end
    end, { name = "listener", daemon = true })
    task.defer(function()
        server:close()
        serving:cancel()
    end)
    return seen, ("http://127.0.0.1:%d"):format(server:port())
end

describe("a request that writes", function()
    local text = [[
local dg = require "dgrun"
return dg.pipeline { description = "Posts", inputs = { fail = { type = "boolean" } },
    run = function(input)
        dg.step("Send", function()
            local url = os.getenv "LISTENER"
            local answer = dg.http.post(url .. "/things?key=" .. os.getenv "QUERY_KEY",
                { json = { a = 1 } })
            assert(dg.effect.is_unknown(answer) or answer.body == "made")
            dg.http.put(url .. "/things/1")
            dg.http.patch(url .. "/things/1")
            dg.http.delete(url .. "/things/1")
            dg.http.get(url .. "/read")
        end)
        assert(not input.fail, "it is broken")
    end }]]

    it("is recorded in a plan, and sent, counted and journaled in a run", function()
        local seen, url = listener()
        local root = new_project { ["scripts/posts.lua"] = text }
        local function posts(...)
            local result = assert(proc.run { argv = { binary, ... }, cwd = root,
                env = { NO_COLOR = "1", LISTENER = url, QUERY_KEY = "in-the-query" } })
            result.all = result.stdout .. result.stderr
            return result
        end
        local plan = posts("plan", "posts")
        assert.matches("POST " .. url .. "/things\n", expect(0, plan), 1, true)
        assert.matches("Plan: 1 to destroy, 3 to run.", plan.all, 1, true)
        assert.same({ "GET /read" }, seen)
        plan = posts("plan", "posts", "--fail")
        expect(1, plan)
        assert.matches("POST " .. url .. "/things\n", plan.stdout, 1, true)
        assert.matches("The plan is incomplete. So far: 1 to destroy, 3 to run.", plan.stdout, 1,
            true)
        assert.matches("it is broken", plan.stderr, 1, true)
        assert.matches("1 destroyed, 3 run", expect(0, posts "posts"), 1, true)
        assert.equal(7, #seen)
        assert.same({ "POST", "PUT", "PATCH", "DELETE", "GET" }, {
            seen[3]:match "^%u+", seen[4]:match "^%u+", seen[5]:match "^%u+",
            seen[6]:match "^%u+", seen[7]:match "^%u+" })
        local bytes = assert(fs.read(root / ".dgrun/state.db"))
        assert.matches(url .. "/things", bytes, 1, true)
        assert.is_nil(bytes:find("in-the-query", 1, true))
    end)
end)
