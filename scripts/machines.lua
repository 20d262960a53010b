local dg = require "dgrun"
local ui = dg.ui.machines

local where = {
    name = "where", complete = "target", required = true, help = "an environment, or its app",
}
local named = "its id, the beginning of its id, or its name"
local id = { name = "id", complete = "machine", required = true, help = "a machine: " .. named }
local group = { short = "g", help = "only this process group" }
local region = { short = "r", help = "only this region" }
local signal = { short = "s", help = "signal to send to the process, such as SIGTERM" }
local timeout = { type = "seconds", help = "kill the process after this time" }

---The selected machine, as options for a function of dg.fly.machines.
local function machine(input, more)
    local options = more or {}
    options.app = input.where.app
    options.id = dg.fly.machines.find({ app = options.app, words = { input.id } })[1].id
    return options
end

---An action on several machines, one after another, with `options` as additional inputs.
local function each(verb, description, options, may_be_all)
    local inputs = may_be_all and {
        all = {
            type = "boolean",
            help = "all machines that deploys update, without cron and standby machines",
        },
        group = group, region = region,
    } or {}
    for name, input in pairs(options) do
        inputs[name] = input
    end
    return {
        description = description, inputs = inputs, show = ui.table,
        arguments = { where, {
            name = "id", complete = "machine", many = true, required = not may_be_all,
            help = "machines: for each, " .. named,
        } },
        run = function(input)
            local how = {}
            for name in pairs(options) do
                how[name] = input[name]
            end
            return dg.fly.machines.each(verb, {
                app = input.where.app, words = input.id, all = input.all, group = input.group,
                region = input.region, how = how,
            })
        end,
    }
end

return dg.command {
    description = "Inspect, start, and stop machines, and run commands in them",
    default = "list",
    actions = {
        list = {
            description = "list machines with their state, health, image, and commit",
            arguments = { { name = "where", complete = "target", help = where.help } },
            inputs = {
                group = group, region = region,
                state = { short = "s", help = "only machines in this state, such as started" },
            },
            read_only = true,
            run = function(input)
                return dg.fly.machines.overview {
                    app = dg.target(input.where).app, group = input.group, region = input.region,
                    state = input.state,
                }
            end,
            show = ui.table,
        },
        status = {
            description = "show one machine, with its checks and events",
            arguments = { where, id },
            read_only = true,
            run = function(input) return dg.fly.machines.status(machine(input)) end,
            show = ui.status,
        },
        events = {
            description = "list a machine's events, newest first",
            arguments = { where, id },
            inputs = { limit = { type = "integer", short = "n",
                help = "number of events (default: 20, at most 50)" } },
            read_only = true,
            run = function(input)
                return dg.fly.machines.events(machine(input, { limit = input.limit }))
            end,
            show = ui.events,
        },
        start = each("start", "start machines, and wait until they are up", {}, true),
        stop = each("stop", "stop machines, and wait until they are down",
            { signal = signal, timeout = timeout }, true),
        restart = each("restart", "restart machines one by one, each after the previous is healthy",
            { signal = signal, timeout = timeout, force = {
                type = "boolean", help = "kill the process instead of stopping it gracefully",
            } }, true),
        suspend = each("suspend", "suspend machines: stop them but keep their memory", {}),
        cordon = each("cordon", "stop sending new requests to machines", {}),
        uncordon = each("uncordon", "resume sending requests to machines", {}),
        signal = each("signal", "send a signal to the main process of machines",
            { signal = { short = "s", required = true, help = "the signal, such as SIGHUP" } }),
        destroy = each("destroy", "destroy machines",
            { force = { type = "boolean", help = "destroy running machines too" } }),
        clone = {
            description = "create a copy of a machine",
            arguments = { where, id },
            inputs = {
                name = { help = "name of the new machine" },
                region = { short = "r", help = "region of the new machine (default: the same)" },
                stopped = { type = "boolean", help = "do not start it" },
            },
            run = function(input)
                return dg.fly.machines.clone(machine(input, {
                    name = input.name, region = input.region, stopped = input.stopped,
                }))
            end,
            show = function(made) return made.id .. "\n" end,
        },
        exec = {
            description = "run a command inside a machine; its exit status is dgrun's",
            arguments = { where, id },
            inputs = { timeout = { type = "seconds",
                help = "stop the command after this time (default: 30s)" } },
            rest = "command",
            run = function(input)
                dg.secrets.mask(input.where)
                local result = dg.fly.machines.exec(machine(input, {
                    command = input.command or {}, timeout = input.timeout,
                }))
                return result, dg.fly.exit_problem(result)
            end,
            show = ui.output,
        },
    },
}
