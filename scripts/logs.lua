local dg = require "dgrun"

return dg.command {
    description = "Log lines: the last ones, or those that come",
    arguments = {
        { name = "where", complete = "place", many = true,
            help = "environments, or apps of theirs; all environments without one" },
    },
    inputs = {
        follow = { type = "boolean", short = "f", help = "go on with what comes, until Ctrl-C" },
        last = {
            type = "integer", short = "n",
            help = "so many of those that are there: 100; all that --since chooses",
        },
        instance = {
            short = "i", complete = "machine",
            help = "only this machine: its id, the beginning of it, or its name",
        },
        region = { short = "r", help = "only this region" },
        since = { type = "seconds", short = "s", help = "only those of the last 30m, 2h or 1d" },
        grep = {
            short = "g",
            help = "only those whose message contains this plain text, as it is shown: without "
                .. "colours and control characters",
        },
        json = { type = "boolean", help = "one JSON object a line" },
    },
    run = function(input)
        local places = dg.places(input.where)
        dg.secrets.mask(places)
        local view = require("dgrun.ui.logs").new(places, input.json)
        dg.fly.logs.stream {
            apps = view.apps, follow = input.follow, count = input.last,
            instance = input.instance, region = input.region, since = input.since,
            grep = input.grep, on_page = view.page, on_trouble = view.trouble,
        }
    end,
}
