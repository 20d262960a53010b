-- What was interrupted goes on when the sandbox starts again.
local lifecycle = require "sandbox.lifecycle"

local M = {}

local function has_restarted(machine)
    for _, event in ipairs(machine.events) do
        if event.type == "exit" then
            return event.request.exit_event.restarting
        end
    end
end

local resumptions = {
    created = function(world, app, machine)
        if machine.preparing then
            lifecycle.launch(world, app, machine, machine.skip)
        end
    end,
    starting = function(world, app, machine) lifecycle.start(world, app, machine, "flyd") end,
    replacing = function(world, app, machine)
        lifecycle.replace(world, app, machine, not machine.resume)
    end,
    stopping = function(world, app, machine) lifecycle.stop(world, app, machine) end,
    suspending = function(world, app, machine)
        lifecycle.stop(world, app, machine, { into = "suspended" })
    end,
    destroying = function(world, app, machine) lifecycle.destroy(world, app, machine) end,
    -- The process ended with the sandbox. A web machine's comes back when somebody asks for it; a
    -- command that was cut off starts again, and so does a machine that is restarted as it crashes.
    started = function(world, app, machine)
        if #(machine.config.services or {}) == 0 or has_restarted(machine) then
            lifecycle.start(world, app, machine, "flyd")
        end
    end,
}

---Goes on where the sandbox was ended.
function M.all(world)
    if not world.persist then
        return
    end
    for _, app in pairs(world.apps) do
        for _, machine in pairs(app.machines) do
            local resume = resumptions[machine.state]
            if resume then
                resume(world, app, machine)
            end
        end
    end
end

return M
