-- What an error says to do next helps in the case at hand.
local fs = require "host.fs"
local local_fly = require "support.local_fly"
local repository = require "support.repository"
local sample = require "support.sample"

---The paragraph of a failure that says what to do.
local function next_of(result)
    return assert(result.stderr:match "\n  next   (.*)$", result.all)
end

local function script(project, name, body)
    project:write(("scripts/%s.lua"):format(name), ([[
        local dg = require "dgrun"
        local fs = require "host.fs"
        return dg.pipeline { description = "x", run = function()
            dg.step("First", function()
                %s
            end)
        end }]]):format(body))
end

describe("a failure", function()
    it("says what to correct where running it again does not help", function()
        local project = sample.new()
        for body, advice in pairs {
            ['dg.assert(fs.read "nosuch.txt")'] =
                "Create the missing file, or correct the path at scripts/x.lua:5.",
            ['dg.proc.run { argv = { "true" }, cwd = "nosuch", read_only = true }'] =
                "Create the missing file, or correct the path at scripts/x.lua:5.",
            ["local nothing; nothing.field = 1"] = "Correct the script at scripts/x.lua:5.",
            ['error "broken"'] = "Correct the script at scripts/x.lua:5.",
            ["dg.proc.run { argv = {}, read_only = true }"] =
                "Correct the call at scripts/x.lua:5 or its arguments.",
            ["dg.proc.run { argv = { 'true' }, cwdir = '/', read_only = true }"] =
                "Did you mean 'cwd'?",
            ["dg.proc.run { argv = { 'nosuch-tool' }, read_only = true }"] =
                "Install nosuch-tool, or correct PATH.",
            ["dg.proc.run { argv = { './nosuch-tool' }, read_only = true }"] =
                "Correct the path of ./nosuch-tool, or make it executable.",
        } do
            script(project, "x", body)
            for _, plan in ipairs { false, true } do
                local result = project:run { unpack(plan and { "plan", "x" } or { "x" }) }
                assert.is_true(result.status > 0, result.all)
                assert.equal(advice .. "\n", next_of(result))
            end
            local show = project:run { "show" }
            assert.matches("next +" .. advice:gsub("%p", "%%%0"), show.stdout)
        end
    end)

    it("offers to run it again where that may help", function()
        local project = sample.new()
        script(project, "x", "dg.proc.run { argv = { 'false' }, read_only = true }")
        assert.equal("After fixing the cause, run it again (completed steps are skipped): "
            .. "dgrun x\n", next_of(project:run { "x" }))
        assert.equal("After fixing the cause: dgrun plan x\n", next_of(project:run { "plan", "x" }))
    end)

    it("of a module that is missing or wrong is no reason to run it again", function()
        local project = sample.new()
        assert(fs.mkdir(project.dir / "scripts/lib"))
        project:write("scripts/lib/broken.lua", "x = = 1\n")
        for _, name in ipairs { "broken", "nosuch" } do
            script(project, "x", ('require "%s"'):format(name))
            assert.is_nil(project:run({ "x" }).stderr:find("again", 1, true))
        end
    end)
end)

describe("dgrun resume", function()
    it("says how a command is run, and what to do about a script that is gone", function()
        local project = sample.new()
        project:write("scripts/act.lua", [[
            local dg = require "dgrun"
            return dg.command { description = "x", actions = { go = { description = "y",
                arguments = { { name = "what" } }, run = function()
                    dg.proc.run { argv = { "false" } }
                end } } }]])
        project:run { "act", "go", "a b" }
        local function resume()
            local id = project:run({ "history", "--json" }).stdout:match '"id":"([^"]+)"'
            return project:run { "resume", id }
        end
        local result = resume()
        assert.equal(2, result.status)
        assert.matches("Run it again: dgrun act go 'a b'", result.stderr, 1, true)

        script(project, "x", "error 'broken'")
        project:run { "x" }
        assert(fs.remove(project.dir / "scripts/x.lua"))
        result = resume()
        assert.equal(2, result.status)
        assert.matches("the script scripts/x.lua of %S+ no longer exists", result.stderr)
        assert.matches("Restore the file, then: dgrun resume ", result.stderr, 1, true)
    end)
end)

describe("against the local Fly no hint", function()
    local function silent_of_flyctl(text)
        assert.is_nil((" " .. text):find "[^%w-]fly [a-z]+", text)
        assert.is_nil(text:find("flyctl ", 1, true), text)
        return text
    end

    it("names a command of flyctl, and those of dgrun have --sandbox", function()
        local project = sample.new()
        local ref = project:image("crash", { exit_code = 1 })
        project:write("plain.toml", "app = 'draft-app-prod'\nprimary_region = 'ewr'\n")
        local function deploys(image)
            project:write("scripts/deploys.lua", ([[
                local dg = require "dgrun"
                return dg.pipeline { description = "x", run = function()
                    dg.fly.deploy { app = "draft-app-prod", config = "plain.toml", image = "%s" }
                end }]]):format(image))
            return project:run { "--sandbox", "deploys" }
        end
        local failed = deploys(ref)
        assert.equal(1, failed.status, failed.all)
        assert.matches("dgrun --sandbox logs --app draft-app-prod --instance ",
            silent_of_flyctl(next_of(failed)), 1, true)

        for _, argv in ipairs { { "logs", "--app", "nosuch" }, { "machines", "--app", "nosuch" },
            { "exec", "--app", "nosuch", "--", "ls" }, { "secrets", "list", "--app", "nosuch" } } do
            local result = project:run { "--sandbox", unpack(argv) }
            assert.is_true(result.status > 0)
            assert.matches("The local Fly has the apps of environments.yaml",
                silent_of_flyctl(result.stderr), 1, true)
        end
        assert.matches("dg.fly.build", silent_of_flyctl(next_of(deploys
            "registry.fly.io/draft-app-prod:nosuch")), 1, true)
        local running = project:run { "--sandbox", "cron", "run", "prod", "nosuch" }
        assert.matches("dgrun --sandbox cron_setup", silent_of_flyctl(running.stderr), 1, true)
    end)
end)

describe("where a repository has no remote no hint", function()
    it("says to fetch", function()
        local fly = local_fly.start()
        repository.git(fly.dir, { "init", "-q", "-b", "main" })
        repository.commit(fly.dir, { ["fly.toml"] = "app = 'web'\n" })
        local image = "registry.fly.io/web:a"
        fly:register(image, {})
        local commit = ("0123456789"):rep(4)
        fly:call("POST", "/api/v1/releases", { app_name = "web", image = image,
            strategy = "ROLLING", definition = { app = "web", dgrun = { commit = commit } } })
        fly:web("web", image, { config = { image = image, metadata = {
            fly_platform_version = "v2", fly_process_group = "app", dgrun_commit = commit,
            fly_release_version = "1" } } })
        local status = fly:run { "status", "prod" }
        assert.matches("not in this repository, which has no remote",
            (status.stdout:gsub("%s+", " ")), 1, true)
        assert.is_nil(status.all:find("git fetch", 1, true), status.all)
        assert(fs.write(fly.dir / "scripts/x.lua", [[
            local dg = require "dgrun"
            return dg.pipeline { description = "x", run = function()
                dg.git.checkout { ref = "v9.9" }
            end }]]))
        local result = fly:run { "x" }
        assert.matches("This repository has no remote 'origin' to fetch from.", result.stderr, 1,
            true)
        assert.is_nil(result.all:find("git fetch", 1, true))
    end)
end)
