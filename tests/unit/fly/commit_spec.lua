-- The commit of a machine: trusted where dgrun made the release that the machine is of. flyctl
-- updates a machine with a new release and leaves metadata that it does not know.
local commits = require "dgrun.fly.commit"
local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local guard = require "dgrun.fly.no_downgrade"
local machines = require "dgrun.fly.machines"
local operations = require "dgrun.fly.machine_actions"
local repository = require "support.repository"

local toml = [[
app = "web"
primary_region = "fra"
[http_service]
internal_port = 8080
]]

local function image(label)
    return "registry.fly.io/web:" .. label
end

---@param body fun(on: table)
local function with(body)
    fly_run.with(function(fly, execute)
        local path = fly.dir / "fly.toml"
        assert(fs.write(path, toml))
        local on = { fly = fly, execute = execute }
        local function done(record)
            assert.equal("done", record.status, tostring(record.error))
            return record
        end
        function on.deploy(label, commit)
            fly.register(image(label))
            return done(execute(function()
                return deploy { app = "web", config = path, image = image(label), ha = false,
                    commit = commit }
            end)).value
        end
        ---A release of flyctl: its own definition; the machine keeps what flyctl does not know.
        function on.flyctl_deploy(id, label)
            fly.register(image(label))
            local _, made = fly.call("POST", "/api/v1/releases", { app_name = "web",
                strategy = "ROLLING", image = image(label), definition = { app = "web" } })
            fly.call("PATCH", "/api/v1/releases/" .. made.release.id, { status = "complete" })
            local config = fly.get(id).config
            config.image = image(label)
            config.metadata.fly_release_id = made.release.id
            config.metadata.fly_release_version = tostring(made.release.version)
            config.metadata.fly_flyctl_version = "0.3.200"
            fly.call("POST", "/v1/apps/web/machines/" .. id, { config = config })
            fly.wait(id, "started")
        end
        ---As dgrun left machines before it noted the release.
        function on.forget_release(id)
            local status = fly.call("DELETE", "/v1/apps/web/machines/" .. id
                .. "/metadata/dgrun_release")
            assert.equal(204, status)
        end
        function on.commit(id)
            return done(execute(function()
                return commits.reader "web" (machines.get("web", id)) or "unknown"
            end)).value
        end
        body(on)
    end)
end

local first, second = ("a"):rep(40), ("b"):rep(40)

describe("the commit of a machine", function()
    it("is that of dgrun's deploy, with the release noted beside it", function()
        with(function(on)
            local result = on.deploy("a", first)
            local metadata = on.fly.get(result.machines[1]).config.metadata
            assert.equal(first, metadata.dgrun_commit)
            assert.equal(metadata.fly_release_id, metadata.dgrun_release)
            assert.equal(first, on.commit(result.machines[1]))
        end)
    end)

    it("is unknown after a deploy with flyctl, until dgrun deploys again", function()
        with(function(on)
            local id = on.deploy("a", first).machines[1]
            on.flyctl_deploy(id, "b")
            assert.equal(first, on.fly.get(id).config.metadata.dgrun_commit)
            assert.equal("unknown", on.commit(id))
            local row = on.execute(function()
                return operations.overview { app = "web" }
            end).value[1]
            assert.is_nil(row.commit)
            -- The same image and commit as flyctl's: the machine is dgrun's from now on.
            assert.is_true(on.deploy("b", first).changed)
            assert.equal(first, on.commit(id))
        end)
    end)

    it("is told by the release of a machine that does not say whose it is", function()
        with(function(on)
            local id = on.deploy("a", first).machines[1]
            on.forget_release(id)
            assert.equal(first, on.commit(id))
            on.flyctl_deploy(id, "b")
            assert.equal("unknown", on.commit(id))
            on.deploy("c", second)
            assert.equal(second, on.commit(id))
        end)
    end)

    it("does not hold back a deploy when it is of an earlier release", function()
        with(function(on)
            local dir, old = repository.new()
            local new = repository.commit(dir, { a = "2" }, "Second")
            local id = on.deploy("a", new).machines[1]
            local function guarded()
                return on.execute(function()
                    guard.refuse_older { app = "web", commit = old, dir = dir }
                end)
            end
            assert.equal("refused.older", guarded().error.code)
            on.flyctl_deploy(id, "b")
            local record = guarded()
            assert.is_nil(record.error)
            assert.matches("unknown commit", record.notes[1].text)
        end)
    end)
end)
