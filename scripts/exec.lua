local dg = require "dgrun"
local log = require "host.log"

local function print_line(line) log.out(line .. "\n") end

local function inside_machine(app, input)
    return dg.fly.machines.exec {
        app = app, id = dg.fly.machines.find({ app = app, words = { input.machine } })[1].id,
        command = input.command or {}, timeout = input.timeout,
    }
end

local function on_new_machine(app, input)
    return dg.fly.run {
        app = app, command = input.command or {}, group = input.group, region = input.region,
        timeout = input.timeout, on_line = not input.json and print_line or nil,
    }
end

return dg.command {
    description = "Run a command with an app's image and secrets; its exit status is dgrun's",
    arguments = {
        { name = "where", complete = "target", required = true,
            help = "an environment, or its app" },
    },
    inputs = {
        machine = {
            short = "m", complete = "machine",
            help = "run inside this machine (default: a new machine, destroyed afterwards)",
        },
        group = { short = "g", help = "process group whose configuration the new machine gets "
            .. "(default: app)" },
        region = { short = "r", help = "region of the new machine" },
        timeout = { type = "seconds", help = "stop the command after this time" },
    },
    rest = "command",
    -- As with ssh, dgrun exits with the exit status of the command.
    run = function(input)
        dg.secrets.mask(input.where)
        local run = input.machine and inside_machine or on_new_machine
        local result = run(input.where.app, input)
        return result, dg.fly.exit_problem(result)
    end,
    show = dg.ui.machines.output,
}
