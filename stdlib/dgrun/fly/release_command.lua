-- The release command: a machine of its own that runs it once, before any other is touched.
-- deploy.md section 6.
local api = require "dgrun.fly.api"
local config_of = require "dgrun.fly.config"
local err = require "dgrun.err"
local logs = require "dgrun.fly.logs"
local machines = require "dgrun.fly.machines"
local run = require "dgrun.run"
local task = require "dgrun.task"
local units = require "dgrun.fly.units"

local M = {}

local GROUP = "fly_app_release_command"

local function largest_guest(all, group)
    local largest
    for _, machine in ipairs(all) do
        local guest = machines.is_managed(machine) and machines.group(machine) == group
            and machine.config.guest
        if guest and (not largest or guest.memory_mb > largest.memory_mb) then
            largest = guest
        end
    end
    return largest
end

local function machine_config(deploy)
    local config = deploy.config
    local env = config_of.copy(config.env)
    env.RELEASE_COMMAND, env.FLY_PROCESS_GROUP = "1", GROUP
    env.PRIMARY_REGION = config.primary_region
    local vm = config.deploy.release_command_vm
    local entrypoint = config.experimental.entrypoint
    return {
        image = deploy.image,
        init = {
            cmd = units.words(config.deploy.release_command), swap_size_mb = config.swap_size_mb,
            entrypoint = type(entrypoint) == "string" and { entrypoint } or entrypoint,
        },
        env = env, restart = { policy = "no" }, auto_destroy = true,
        dns = { skip_registration = true }, stop_config = config_of.stop_config(config),
        guest = vm and config_of.guest(config.path, vm)
            or largest_guest(deploy.all, config_of.default_group(config))
            or { cpu_kind = "shared", cpus = 2, memory_mb = 512 },
        metadata = {
            fly_platform_version = "v2", fly_process_group = GROUP,
            fly_release_id = deploy.release.id,
            fly_release_version = tostring(deploy.release.version),
        },
    }
end

---Destroys what an earlier deploy left behind.
local function remove_leftovers(deploy)
    for _, machine in ipairs(deploy.all) do
        if machines.group(machine) == GROUP and machine.state ~= "destroyed" then
            machines.destroy(deploy.app, machine.id)
        end
    end
end

---The exit event, once it is newer than the start.
local function exit_of(app, id)
    for _ = 1, 20 do
        local machine = machines.get(app, id)
        local exit = machine and machines.last_exit(machine)
        if exit then
            return exit
        end
        task.sleep(api.pace(1))
    end
end

local function wait_end(deploy, machine, follower)
    local time = require "host.time"
    local limit = deploy.release_command_timeout
    local deadline = limit > 0 and time.now() + limit or math.huge
    while not machines.wait_once(deploy.app, machine.id, { state = "destroyed",
            seconds = math.min(api.pace(10), deadline - time.now()) }) do
        follower.drain()
        if time.now() >= deadline then
            pcall(machines.destroy, deploy.app, machine.id)
            err.raise {
                code = "fly.release_command_timeout", op = "fly.deploy",
                msg = ("the release command did not end within %g s; it was stopped"):format(limit),
                hint = "No machine of the app was touched. Raise release_command_timeout, or run "
                    .. "what is slow as a step of its own.",
            }
        end
    end
end

---Runs it; raises when it does not exit with 0.
---@param deploy table {app, config, image, release, all, secrets_version, wait_timeout, …}
---@return {exit_code: integer}
function M.run(deploy)
    remove_leftovers(deploy)
    local machine = machines.create(deploy.app, {
        region = deploy.config.primary_region, skip_launch = true,
        min_secrets_version = deploy.secrets_version, config = machine_config(deploy),
    })
    local lines = {}
    local follower = logs.follower(deploy.app, machine.id, function(line)
        lines[#lines + 1] = line
        run.log(line)
    end)
    machines.wait(deploy.app, machine.id, { state = "stopped", seconds = deploy.wait_timeout })
    machines.start(deploy.app, machine.id)
    wait_end(deploy, machine, follower)
    local exit = exit_of(deploy.app, machine.id)
    follower.drain()
    if exit and exit.exit_code == 0 then
        return { exit_code = 0 }
    end
    err.raise {
        code = "fly.release_command_failed", op = "fly.deploy",
        exit_code = exit and exit.exit_code, lines = lines,
        msg = ("the release command '%s' exited with code %s%s"):format(
            deploy.config.deploy.release_command, exit and tostring(exit.exit_code) or "unknown",
            exit and exit.oom_killed and ", out of memory" or ""),
        hint = "No machine of the app was touched. Its output stands above.",
    }
end

return M
