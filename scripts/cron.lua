local dg = require "dgrun"
local log = require "host.log"
local ui = dg.ui.cron

local where = { name = "where", required = true, complete = "target", help = "an environment" }
local wait = { type = "seconds", help = "how long to wait for a running job to end" }
local outcome = {
    choices = { "skip", "fail", "interrupt" }, help = "what to do if the job does not end in time",
}

local function declared(target)
    return target.environment and target.environment.crons or {}
end

local function print_line(line) log.out(log.clean(line) .. "\n") end

---What to do about a running job; nil to do what the cron machine declares.
local function when_running(input)
    return (input.wait or input["then"]) and { wait = input.wait, ["then"] = input["then"] } or nil
end

---Names of the cron machines of the target on the command line.
local function names(input)
    local found = {}
    for i, row in ipairs(dg.cron.list { app = dg.target(input.where).app }) do
        found[i] = row.name
    end
    return found
end

return dg.command {
    description = "List, run, update, and remove cron machines",
    default = "list",
    actions = {
        list = {
            description = "list cron machines with their last run, next run, and problems",
            read_only = true,
            arguments = {
                { name = "where", many = true, complete = "target",
                    help = "environments (default: all environments)" },
            },
            inputs = {
                check = { type = "boolean", help = "exit with status 3 if there are problems" },
            },
            run = function(input)
                return dg.cron.overview(dg.targets(input.where), input.check)
            end,
            show = function(targets) return ui.text(targets, dg.cron.now()) end,
        },
        run = {
            description = "run a cron machine's job now, on a separate machine; follow its log",
            arguments = {
                where,
                { name = "name", required = true, complete = names,
                    help = "name of the cron machine" },
            },
            inputs = {
                timeout = { type = "seconds", help = "destroy the machine after this time" },
                beside = { type = "boolean", help = "even while the machine's own job is running" },
            },
            -- The exit status is that of the job.
            run = function(input)
                dg.secrets.mask(input.where)
                local result = dg.cron.run_now {
                    app = input.where.app, name = input.name, timeout = input.timeout,
                    beside = input.beside, on_line = not input.json and print_line or nil,
                }
                return result, dg.fly.exit_problem(result)
            end,
            show = function() return "" end,
        },
        image = {
            description = "update the image of cron machines to the image of the web machines",
            arguments = { where, { name = "name", complete = names, help = "only this cron "
                .. "machine" } },
            inputs = {
                image = { help = "an image other than that of the web machines" },
                wait = wait, ["then"] = outcome,
            },
            run = function(input)
                return dg.cron.update_image {
                    app = input.where.app, crons = declared(input.where), name = input.name,
                    image = input.image, when_running = when_running(input),
                }
            end,
            show = ui.results,
        },
        remove = {
            description = "remove an undeclared or duplicate machine",
            arguments = {
                where,
                { name = "machine", required = true, complete = names, help = "its name or id" },
            },
            inputs = { wait = wait, ["then"] = outcome },
            run = function(input)
                return dg.cron.remove {
                    app = input.where.app, crons = declared(input.where),
                    machine = input.machine, when_running = when_running(input),
                }
            end,
            show = ui.removed,
        },
    },
}
