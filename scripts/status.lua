local dg = require "dgrun"

return dg.command {
    description = "Show commit, machines, cron machines, migrations, secrets, and site",
    read_only = true,
    arguments = {
        { name = "where", many = true, complete = "target",
            help = "environments or apps (default: all environments)" },
    },
    inputs = {
        verbose = { type = "boolean", short = "v",
            help = "also show undeployed commits, earlier runs, and hints" },
        max_age = { type = "seconds",
            help = "exit with 3 when the deployed commit is older (48h), with 1 when unknown" },
        max_behind = { type = "integer",
            help = "likewise when it is more than N commits behind the branch" },
        max_behind_for = { type = "seconds",
            help = "likewise when it has been behind the branch for longer (48h)" },
        exit_code = { type = "boolean",
            help = "exit with 3 when anything is wrong, including probes, with 1 when unknown" },
        branch = { default = "main", help = "branch to compare with, on origin if possible" },
        timeout = { type = "seconds", default = 10,
            help = "show parts that do not respond in time as unknown" },
    },
    run = function(input)
        local report = dg.status.ask {
            targets = dg.targets(input.where), branch = input.branch, timeout = input.timeout,
        }
        return report, dg.status.verdict(report, {
            max_age = input.max_age, max_behind = input.max_behind,
            max_behind_for = input.max_behind_for, no_problem = input.exit_code or nil,
        })
    end,
    show = function(report, input)
        return dg.ui.status.text(report, { verbose = input.verbose })
    end,
}
