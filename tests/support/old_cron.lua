-- Pipelines that update cron machines as workflows of bash and jq did, over the raw Machines API;
-- for tests of what that led to. Each ends green by the checks it makes itself.
local M = {}

local HEAD = [[
local dg = require "dgrun"
local api = dg.fly.api
local env = dg.environment "prod"
local machines = "/v1/apps/" .. env.app .. "/machines"

local function cron_machine()
    for _, machine in ipairs(api.machines("GET", machines)) do
        if machine.config.schedule then
            return machine
        end
    end
end

local function update(machine, more)
    local body = { config = machine.config, region = machine.region }
    for name, value in pairs(more or {}) do
        body[name] = value
    end
    return api.machines("POST", machines .. "/" .. machine.id, { json = body })
end

local function wait(id, state)
    api.machines("GET", machines .. "/" .. id .. "/wait",
        { query = { state = state, timeout = 30 }, timeout = 40 })
end

return dg.pipeline {
    description = "Production, as the workflow did it",
    inputs = { image = { required = true } },
    run = function(input)
        local release = dg.step("Deploy", function()
            return dg.fly.deploy { app = env.app, config = env.config, image = input.image }
        end)
        %s
        dg.step("Verify", function()
            dg.probe.http { url = env.url / "health", expect = 200 }
            local cron = cron_machine()
            assert(cron.config.image == release.image, "the cron machine has another image")
            assert(cron.config.schedule == "hourly", "the cron machine has no schedule")
        end)
    end,
}
]]

---Writes the pipeline old_way into a project.
---@param project support.fast_project
---@param steps string what it does behind the deploy
function M.write(project, steps)
    project:write("scripts/old_way.lua", (HEAD:gsub("%%s", function() return steps end)))
end

---The one cron machine of production, at rest.
function M.rested(project)
    local _, list = project:machines()
    assert(#list == 1, #list .. " cron machines")
    local own = "/v1/apps/draft-app-prod/machines/" .. list[1].id
    assert(project:call("GET", own .. "/wait?state=stopped&timeout=30") == 200)
    local _, machine = project:call("GET", own)
    return machine
end

---How often it was started.
function M.starts(machine)
    local count = 0
    for _, event in ipairs(machine.events) do
        count = count + (event.type == "start" and 1 or 0)
    end
    return count
end

---The exit code of its newest tick.
function M.exit_code(machine)
    local exit = require("dgrun.fly.machines").last_exit(machine)
    return exit and exit.exit_code
end

---All that it wrote.
function M.log(project, machine)
    local _, page = project:call("GET",
        "/api/v1/apps/draft-app-prod/logs?next_token=&instance=" .. machine.id)
    local lines = {}
    for i, entry in ipairs(page.data) do
        lines[i] = entry.attributes.message
    end
    return table.concat(lines, "\n")
end

---Lets the clock of the local Fly go on.
function M.pass(project, hours)
    assert(project:call("POST", "/sandbox/v1/clock", { advance = hours * 3600 }) == 200)
end

return M
