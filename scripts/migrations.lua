local dg = require "dgrun"

return dg.command {
    description = "Check new migrations for hazards, for pull requests",
    default = "lint",
    actions = {
        lint = {
            description = "list hazards of the revisions since a branch, from the files alone",
            read_only = true,
            inputs = {
                since = { help = "branch whose merge base with HEAD is the start "
                    .. "(default: origin/main, else main)" },
                environment = { complete = "environment",
                    help = "environment that declares the folder of the migrations" },
                dialect = { choices = { "postgresql", "sqlite" },
                    help = "kind of database (default: that of alembic.ini, else postgresql)" },
            },
            run = function(input)
                return dg.migrations.lint {
                    since = input.since, environment = input.environment, dialect = input.dialect,
                }
            end,
            show = function(report) return dg.ui.migrations.lint(report) end,
        },
    },
}
