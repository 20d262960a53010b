local dg = require "dgrun"

local one = { name = "where", help = "an environment or an app", complete = "target" }
local the_one = { name = "where", help = one.help, complete = "target", required = true }
local stage = { type = "boolean", help = "do not update machines now; the next deploy does" }

local function show(what)
    return function(data) return dg.ui.secrets[what](data) end
end

---The data, with the environment it belongs to.
local function of(target, data)
    data.environment = target.environment and target.name
    data.declared = target.environment and dg.secrets.declared(target.environment.secrets)
    return data
end

local function environment(target)
    return target.environment or dg.err.raise { code = "input.invalid",
        msg = ("no environment declares the app %s, so it has no declared secrets")
            :format(target.app) }
end

---The arguments for dgrun itself: `run` passes the arguments after -- to a program unchanged.
local function own_words(words, dashes)
    return words[1] == "run" and { unpack(words, 1, dashes) } or words
end

return dg.command {
    description = "Manage the secrets of an app by name; values cannot be read",
    default = "list",
    guard = function(words, dashes) dg.secrets.refuse_assignments(own_words(words, dashes)) end,
    actions = {
        list = {
            description = "list the secrets of the app, and whether each is declared",
            read_only = true,
            arguments = { one },
            run = function(input)
                local target = dg.target(input.where)
                return of(target, dg.secrets.overview { app = target.app,
                    secrets = target.environment and target.environment.secrets })
            end,
            show = show "list",
        },
        set = {
            description = "set secrets: prompt for values without echo, or read them from files",
            arguments = { the_one, { name = "names", many = true, complete = "secret",
                help = "secrets to prompt for; without names and options, NAME=value lines are "
                    .. "read from standard input" } },
            inputs = {
                file = { many = true, help = "NAME=PATH: read the value of NAME from this file" },
                from = { help = "a file of NAME=value lines, or - for standard input" },
                stdin = { help = "NAME: read the value of NAME from standard input" },
                stage = stage,
            },
            run = function(input)
                local target = input.where
                local values = dg.secrets.values { app = target.app, names = input.names,
                    file = input.file, from = input.from, stdin = input.stdin,
                    secrets = target.environment and target.environment.secrets }
                return of(target, dg.secrets.set { app = target.app, secrets = values,
                    apply = not input.stage })
            end,
            show = show "set",
        },
        unset = {
            description = "remove secrets",
            arguments = { the_one, { name = "names", many = true, required = true,
                complete = "secret", help = "names of the secrets" } },
            inputs = { stage = stage,
                force = { type = "boolean", help = "also remove required secrets" } },
            run = function(input)
                local target = input.where
                local env = not input.force and target.environment
                return of(target, dg.secrets.unset { app = target.app, names = input.names,
                    secrets = env and env.secrets or nil, apply = not input.stage })
            end,
            show = show "unset",
        },
        diff = {
            description = "show which declared secrets a deploy would set",
            read_only = true,
            arguments = { one },
            run = function(input)
                local target = dg.target(input.where)
                return of(target, dg.secrets.diff { app = target.app,
                    secrets = environment(target).secrets })
            end,
            show = show "diff",
        },
        where = {
            description = "show which source provides each value, and which are missing or invalid",
            read_only = true,
            arguments = { one },
            run = function(input)
                return dg.secrets.where(environment(dg.target(input.where)))
            end,
            show = show "where",
        },
        run = {
            description = "run a local command with an environment's secrets as variables",
            read_only = true,
            arguments = { the_one },
            rest = "command",
            run = function(input)
                return dg.secrets.run { environment = environment(input.where),
                    command = input.command or {} }
            end,
        },
        compare = {
            description = "compare two environments: missing names, and equal values",
            read_only = true,
            arguments = {
                { name = "left", help = "an environment", complete = "target", required = true },
                { name = "right", help = "another environment", complete = "target",
                    required = true },
            },
            run = function(input)
                return dg.secrets.compare { left = environment(input.left),
                    right = environment(input.right) }
            end,
            show = show "compare",
        },
    },
}
