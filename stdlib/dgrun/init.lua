-- What a script requires: local dg = require "dgrun". Nothing is loaded before it is used.
local opt = require "host.opt"

---@class dgrun
---@field pipeline fun(declaration: dgrun.pipeline.declaration): dgrun.pipeline
---@field command fun(declaration: dgrun.command.declaration): dgrun.command
---@field target fun(word?: string|dgrun.target): dgrun.target
---@field targets fun(words?: (string|dgrun.target)[]): dgrun.target[]
---@field step fun(name: string, opts: dgrun.step.options|fun(): any, fn?: fun(): any): any
---@field environment fun(name: string): dgrun.environment
---@field note fun(text: string)
---@field output fun(values: table<string, string|number|boolean>) to who called the run
---@field log fun(line: string)
---@field assert fun(value: any, e?: dgrun.err): any raises the error of a `nil, err`
---@field preflight fun(opts: dgrun.preflight.options): {problems: string[], warnings: string[]}
---@field verify fun(opts: dgrun.verify.options)
local dg = {}

-- Names that are one function of a module.
local functions = {
    pipeline = { "dgrun.project.pipeline", "new" },
    command = { "dgrun.project.command", "new" },
    target = { "dgrun.project.target", "find" },
    targets = { "dgrun.project.target", "list" },
    step = { "dgrun.run.step", "run" },
    log = { "dgrun.run.context", "log" },
    environment = { "dgrun.project.environment", "get" },
    note = { "dgrun.run.effect", "note" },
    output = { "dgrun.project.output", "give" },
    preflight = { "dgrun.preflight", "preflight" },
    verify = { "dgrun.verify", "verify" },
}

local modules = {
    cron = "dgrun.cron", effect = "dgrun.run.effect", err = "dgrun.core.err", fly = "dgrun.fly",
    format = "dgrun.core.format", git = "dgrun.git", http = "dgrun.http", json = "dgrun.core.json",
    migrations = "dgrun.migrations", path = "dgrun.core.path", probe = "dgrun.probe",
    proc = "dgrun.proc", review = "dgrun.review", run = "dgrun.run",
    secrets = "dgrun.secrets", status = "dgrun.status", store = "dgrun.run.store",
    task = "dgrun.core.task", ui = "dgrun.ui",
}

local function known_names()
    local names = {}
    for _, list in ipairs { functions, modules } do
        for name in pairs(list) do
            names[#names + 1] = name
        end
    end
    names[#names + 1] = "assert"
    table.sort(names)
    return names
end

local function unknown_name(name)
    local nearest = opt.nearest(tostring(name), known_names())
    require("dgrun.core.err").raise {
        code = "input.unknown_name",
        msg = ("dgrun has no '%s'"):format(tostring(name)),
        hint = nearest and ("Did you mean dg.%s?"):format(nearest)
            or "Known names: " .. table.concat(known_names(), ", ") .. ".",
    }
end

return setmetatable(dg, {
    __index = function(_, name)
        local value
        if functions[name] then
            value = require(functions[name][1])[functions[name][2]]
        elseif modules[name] then
            value = require(modules[name])
        elseif name == "assert" then
            value = require "dgrun.core.check"
        else
            unknown_name(name)
        end
        rawset(dg, name, value)
        return value
    end,
    __newindex = function(_, name)
        require("dgrun.core.err").raise {
            code = "input.invalid",
            msg = ("dgrun cannot be changed: dg.%s = …"):format(tostring(name)),
            hint = "Keep the value in a local variable.",
        }
    end,
})
