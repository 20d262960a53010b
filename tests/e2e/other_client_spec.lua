-- One dgrun serves a local Fly; others deploy to it with the variables that it prints.
local local_fly = require "support.local_fly"
local postgres = require "support.postgres"
local sample = require "support.sample"
local task = require "dgrun.core.task"

---Deploys the sample's production app as a client, and checks what became of it.
local function deploy(project, fly, more)
    local env = { FLY_ACCESS_TOKEN = fly.token }
    for _, list in ipairs { fly.printed, more or {} } do
        for name, value in pairs(list) do
            env[name] = value
        end
    end
    local run = project:run({ "prod_deploy", "--ref", "v1.2.0" }, { env = env })
    assert.equal(0, run.status, run.all)
    local _, machines = fly:call("GET", "/v1/apps/draft-app-prod/machines")
    local started = 0
    for _, machine in ipairs(machines) do
        started = started + (machine.state == "started" and not machine.config.schedule and 1 or 0)
        assert.matches("^registry%.fly%.io/draft%-app%-prod:dgrun%-%x+", machine.config.image)
    end
    assert.equal(2, started)
    local history = project:run({ "history" }, { env = env })
    assert.matches("prod_deploy.-done", history.stdout)
    return run
end

describe("a client of another dgrun's local Fly", function()
    it("builds, deploys, probes, and keeps its runs in its own store", function()
        local project = sample.new()
        local fly = local_fly.start(project.dir)
        assert.equal("127.0.0.1:" .. fly.url:match "%d+$", fly.printed.FLY_REGISTRY_HOST)
        local server = postgres.start()
        task.defer(server.stop)
        local run = deploy(project, fly, { DGRUN_STORE = server.url })
        assert.matches("build image", run.stdout)
        -- Another store knows nothing of that run; the registry has the image.
        assert.matches("image dgrun%-%x+ already exists", deploy(project, fly).all)
        -- The registry answers clients of the OCI distribution specification.
        assert.equal(200, (fly:call("GET", "/v2/")))
    end)
end)
