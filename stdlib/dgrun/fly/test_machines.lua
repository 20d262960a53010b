-- The machine checks of a group: short-lived machines that test one that was updated.
-- docs/fly/deploy.md, section 11.
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local machine_config_of = require "dgrun.fly.machine_config"
local one_off = require "dgrun.fly.one_off"
local run = require "dgrun.run.context"
local tables = require "dgrun.core.table"

local M = {}

local GROUP = "fly_app_test_machine_command"

local function configuration(deploy, check, machine)
    local config = machine.config
    local env = tables.copy(config.env or {})
    env.FLY_TEST_COMMAND, env.FLY_TEST_MACHINE_IP = "1", machine.private_ip
    env.FLY_PROCESS_GROUP = GROUP
    local init = config.init or {}
    return {
        image = check.image or image_of.tagged(deploy.image), env = env,
        init = { cmd = check.command,
            entrypoint = deploy.config.experimental.entrypoint or check.entrypoint
                or init.entrypoint },
        guest = tables.copy(config.guest),
        metadata = { fly_platform_version = "v2", fly_process_group = GROUP },
    }
end

---Runs the checks of a machine's group against it; raises for the first that fails.
---@param deploy table of deploy.lua
---@param group string
---@param machine table that is up
function M.run(deploy, group, machine)
    for _, check in ipairs(machine_config_of.machine_checks(deploy.config,
        group)) do
        local exit, id = one_off.run {
            app = deploy.app, region = machine.region,
            config = configuration(deploy, check, machine),
            secrets_version = deploy.secrets_version, wait_timeout = deploy.wait_timeout,
            timeout = deploy.wait_timeout, on_line = run.log,
        }
        if not exit or exit.exit_code ~= 0 then
            err.raise {
                code = "fly.machine_check_failed", op = "fly.deploy", machine = machine.id,
                exit_code = exit and exit.exit_code,
                msg = ("machine %s of %s fails its machine check `%s`: %s"):format(machine.id,
                    deploy.app, table.concat(check.command, " "),
                    exit and ("exit code %d"):format(exit.exit_code) or "it did not end in time"),
                hint = ("See its output above; the check ran in machine %s."):format(id),
            }
        end
    end
end

return M
