local dg = require "dgrun"

return dg.command {
    description = "List an app's releases with their time, author, image, and commit",
    arguments = {
        { name = "where", complete = "target", help = "an environment, or its app" },
    },
    inputs = {
        last = { type = "integer", short = "n", default = 25, help = "number of releases, newest "
            .. "first" },
    },
    read_only = true,
    run = function(input)
        return dg.fly.releases.overview { app = dg.target(input.where).app, limit = input.last }
    end,
    show = dg.ui.releases.table,
}
