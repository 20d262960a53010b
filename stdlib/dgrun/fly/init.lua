-- Fly.io: each part is loaded when it is first used. dg.fly.deploy{…}, dg.fly.machines.list{…}.
local check = require "dgrun.core.check"
local tables = require "dgrun.core.table"

local parts = {
    api = "dgrun.fly.api", apps = "dgrun.fly.apps", config = "dgrun.fly.config",
    image = "dgrun.core.image_ref", lease = "dgrun.fly.lease",
    machines = "dgrun.fly.machine_actions",
    releases = "dgrun.fly.releases", strategies = "dgrun.fly.strategies", logs = "dgrun.fly.logs",
}
local functions = {
    deploy = { "dgrun.fly.deploy", "deploy" },
    build = { "dgrun.fly.build", "build" },
    rollback = { "dgrun.fly.rollback", "rollback" },
    rollback_target = { "dgrun.fly.rollback", "rollback_target" },
    refuse_older = { "dgrun.fly.no_downgrade", "refuse_older" },
    deployed = { "dgrun.fly.no_downgrade", "deployed" },
    run = { "dgrun.fly.command", "run" },
    exit_problem = { "dgrun.fly.command", "exit_problem" },
}

---@class dgrun.fly
---@field deploy fun(opts: dgrun.fly.deploy.options): dgrun.fly.deploy.result
---@field rollback fun(opts: dgrun.fly.rollback.options): dgrun.fly.deploy.result
---@field rollback_target fun(opts: {app: string, to?: integer}): {version: integer, image: string,
---  commit?: string, created_at: string}
---@field build fun(opts: dgrun.fly.build.options): dgrun.fly.build.result
---@field refuse_older fun(opts: {app: string, commit: string, unless?: boolean, dir?: string})
---@field deployed fun(app: string): boolean
---@field run fun(opts: dgrun.fly.run.options): dgrun.fly.run.result
---@field exit_problem fun(exit: {exit_code?: integer}): dgrun.err?
return setmetatable({}, {
    __index = function(self, name)
        local value
        if functions[name] then
            value = require(functions[name][1])[functions[name][2]]
        elseif parts[name] then
            value = require(parts[name])
        else
            check.known(name, tables.merged(parts, functions), "dg.fly has no",
                "input.unknown_name")
        end
        rawset(self, name, value)
        return value
    end,
})
