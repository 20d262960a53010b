local dg = require "dgrun"

return dg.command {
    description = "Migrations: hazards of new revisions, for pull requests",
    default = "lint",
    actions = {
        lint = {
            description = "hazards of the revisions since a branch, from their files alone",
            read_only = true,
            inputs = {
                since = { help = "the branch that this one is compared with: "
                    .. "their merge base; origin/main, or main without it" },
                environment = { complete = "environment",
                    help = "the one whose folder of migrations is looked at" },
                dialect = { choices = { "postgresql", "sqlite" },
                    help = "the database; that of alembic.ini, or postgresql" },
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
