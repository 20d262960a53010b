-- What the gate of a declaration gets: when = function(cron) … end. It decides whether the machine
-- may be created; one that is there is kept up to date whatever the gate says.
local config_of = require "dgrun.fly.config"
local job = require "dgrun.cron.job"
local secrets_state = require "dgrun.fly.secrets_state"

local M = {}

---@class dgrun.cron.gate
---@field app string
---@field name string
---@field image string
---@field run fun(command: string[], opts?: {timeout?: number}): integer runs a command on a machine
---  of its own, as the cron machine would be: its exit code

---@param desk dgrun.cron.desk
---@param cron dgrun.cron.declaration
---@param view dgrun.cron.view
---@return dgrun.cron.gate
function M.of(desk, cron, view)
    return {
        app = desk.app, name = cron.name, image = desk.image,
        run = function(command, opts)
            local config = config_of.copy(view.wanted)
            local version = secrets_state.wanted_version(desk.app, desk.secrets, config.metadata)
            config.init = config.init or {}
            config.init.cmd, config.init.exec = require("dgrun.json").array { unpack(command) }, nil
            config.mounts = nil
            return job.run({
                app = desk.app, name = cron.name .. "-gate", config = config, region = view.region,
                secrets_version = version, timeout = opts and opts.timeout or 600,
                summary = ("ask whether %s may be created: %s"):format(cron.name,
                    table.concat(command, " ")),
            }).exit_code
        end,
    }
end

return M
