local dg = require "dgrun"

return dg.command {
    description = "Show the last log lines, or follow new lines",
    arguments = {
        { name = "where", complete = "target", many = true,
            help = "environments or their apps (default: all environments)" },
    },
    inputs = {
        follow = { type = "boolean", short = "f", help = "follow new lines until Ctrl-C" },
        last = {
            type = "integer", short = "n",
            help = "number of existing lines (default: 100; with --since, all that match)",
        },
        instance = {
            short = "i", complete = "machine",
            help = "only this machine: its id, the beginning of its id, or its name",
        },
        region = { short = "r", help = "only this region" },
        since = { type = "seconds", short = "s", help = "only lines from the last 30m, 2h, or 1d" },
        grep = {
            short = "g",
            help = "only lines whose message contains this plain text, as shown: without "
                .. "colors and control characters",
        },
        json = { type = "boolean", help = "one JSON object per line" },
    },
    run = function(input)
        local targets = dg.targets(input.where)
        dg.secrets.mask(targets)
        local view = dg.ui.logs.new(targets, input.json)
        dg.fly.logs.stream {
            apps = view.apps, follow = input.follow, count = input.last,
            instance = input.instance, region = input.region, since = input.since,
            grep = input.grep, on_page = view.page, on_trouble = view.trouble,
        }
    end,
}
