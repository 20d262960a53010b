-- Commands that a deploy runs on machines of their own: the release command, before any machine is
-- touched (docs/fly/deploy.md, section 6), and the machine checks of a group, short-lived machines
-- that test an updated one (section 11).
local config_of = require "dgrun.fly.config"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local machine_config_of = require "dgrun.fly.machine_config"
local machines = require "dgrun.fly.machines"
local one_off = require "dgrun.fly.one_off"
local run = require "dgrun.run.context"
local tables = require "dgrun.core.table"
local units = require "dgrun.fly.units"
local version = require "dgrun.core.version"

local M = {}

local RELEASE_GROUP = "fly_app_release_command"
local CHECK_GROUP = "fly_app_test_machine_command"

local function largest_guest(all, group)
    local largest
    for _, machine in ipairs(all) do
        local guest = machines.is_managed(machine) and machines.group(machine, group) == group
            and machine.config.guest
        if type(guest) == "table" and (not largest or guest.memory_mb > largest.memory_mb) then
            largest = guest
        end
    end
    return largest
end

---The machine of the release command, without image and release, and without an inferred guest.
---@param config dgrun.fly.config
---@return table
function M.release_config(config)
    local env = tables.copy(config.env)
    env.RELEASE_COMMAND, env.FLY_PROCESS_GROUP = "1", RELEASE_GROUP
    if config.primary_region and config.primary_region ~= "" then
        env.PRIMARY_REGION = config.primary_region
    end
    local vm = config.deploy.release_command_vm
    return {
        init = {
            cmd = units.words(config.deploy.release_command), swap_size_mb = config.swap_size_mb,
            entrypoint = config.experimental.entrypoint,
        },
        env = env, stop_config = machine_config_of.stop_config(config),
        files = machine_config_of.files(config),
        guest = vm and machine_config_of.guest(config, vm) or nil,
        metadata = { fly_platform_version = "v2", fly_process_group = RELEASE_GROUP },
    }
end

---The machine of the release command.
---@param deploy table {config, image, release, all}
---@return table
function M.release_machine(deploy)
    local machine = M.release_config(deploy.config)
    machine.image = deploy.image
    machine.guest = machine.guest
        or tables.copy(largest_guest(deploy.all, config_of.default_group(deploy.config)))
        or { cpu_kind = "shared", cpus = 2, memory_mb = 512 }
    local dedication = deploy.config.host_dedication_id
    if dedication and dedication ~= "" then
        machine.guest.host_dedication_id = dedication
    end
    machine.metadata.fly_flyctl_version = "dgrun " .. version
    machine.metadata.fly_release_id = deploy.release.id
    machine.metadata.fly_release_version = tostring(deploy.release.version)
    return machine
end

local running = { started = true, starting = true, stopping = true }

---What an earlier deploy left behind. One that runs is never cut off: it may be in the middle of a
---migration. That of this release is this deploy's own, which was killed: its end is the result.
---@return table? machine of this release, still running
local function remove_leftovers(deploy, options)
    local own
    for _, machine in ipairs(deploy.all) do
        if machines.group(machine) == RELEASE_GROUP and machine.state ~= "destroyed" then
            local runs = running[machine.state] and machine.config.metadata.fly_release_id
            if runs and runs == deploy.release.id then
                own = machine
            else
                if runs then
                    effect.note("a release command of an earlier deploy is still running; waiting "
                        .. "for it")
                    one_off.adopt(options, machine.id)
                end
                machines.destroy(deploy.app, machine.id)
            end
        end
    end
    return own
end

---Runs the release command; raises when it does not exit with 0.
---@param deploy table {app, config, image, release, all, secrets_version, wait_timeout, …}
---@return {exit_code: integer}
function M.release(deploy)
    local lines = {}
    local options = {
        app = deploy.app, region = deploy.config.primary_region,
        secrets_version = deploy.secrets_version, wait_timeout = deploy.wait_timeout,
        timeout = deploy.release_command_timeout,
        on_line = function(line)
            lines[#lines + 1] = line
            run.log(line)
        end,
    }
    local own = remove_leftovers(deploy, options)
    local exit, id
    if own then
        exit, id = one_off.adopt(options, own.id)
    else
        options.config = M.release_machine(deploy)
        exit, id = one_off.run(options)
    end
    if not exit then
        err.raise {
            code = "fly.release_command_timeout", op = "fly.deploy", machine = id,
            msg = ("the release command did not end within %g s; it was stopped"):format(
                deploy.release_command_timeout),
            hint = "No machine of the app was changed. Raise release_command_timeout, or run "
                .. "the slow part as a separate step.",
        }
    elseif exit.exit_code == 0 then
        return { exit_code = 0 }
    end
    err.raise {
        code = "fly.release_command_failed", op = "fly.deploy",
        exit_code = exit.exit_code, lines = lines, machine = id,
        msg = ("the release command '%s' exited with code %s%s"):format(
            deploy.config.deploy.release_command,
            exit.exit_code >= 0 and exit.exit_code or "unknown",
            exit.oom_killed and ", out of memory" or ""),
        hint = "No machine of the app was changed. See the command's output above.",
    }
end

---How a test machine is stopped: as its check says, else as the app's machines.
local function stop_config_of(config, check)
    local own = { signal = check.kill_signal, timeout = check.kill_timeout }
    local merged = tables.merged(machine_config_of.stop_config(config), own)
    return next(merged) and merged or nil
end

local function check_config(deploy, check, machine)
    local config = machine.config
    local env = tables.copy(config.env or {})
    env.FLY_TEST_COMMAND, env.FLY_TEST_MACHINE_IP = "1", machine.private_ip
    env.FLY_PROCESS_GROUP = CHECK_GROUP
    local init = config.init or {}
    return {
        image = check.image or image_of.tagged(deploy.image), env = env,
        stop_config = stop_config_of(deploy.config, check),
        init = { cmd = check.command, swap_size_mb = deploy.config.swap_size_mb,
            entrypoint = deploy.config.experimental.entrypoint or check.entrypoint
                or init.entrypoint },
        guest = tables.copy(config.guest),
        metadata = { fly_platform_version = "v2", fly_process_group = CHECK_GROUP },
    }
end

---Runs the checks of a machine's group against it; raises for the first that fails.
---@param deploy table of deploy.lua
---@param group string
---@param machine table that is up
function M.check(deploy, group, machine)
    for _, check in ipairs(machine_config_of.machine_checks(deploy.config, group)) do
        local exit, id = one_off.run {
            app = deploy.app, region = machine.region,
            config = check_config(deploy, check, machine),
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
