-- A command on a machine of its own: with the image, the secrets and the configuration of those
-- that serve, followed to its end, then destroyed. What a killed dgrun left is found by the next.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local commit_reader = require("dgrun.fly.commit").reader
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local journal = require "dgrun.run.journal"
local json = require "dgrun.core.json"
local machine_config_of = require "dgrun.fly.machine_config"
local machines = require "dgrun.fly.machines"
local one_off = require "dgrun.fly.one_off"
local proc = require "dgrun.proc"
local process = require "dgrun.core.process"
local run = require "dgrun.run.context"
local secrets = require "dgrun.fly.secrets"
local store_of = require "dgrun.run.store"
local unknown = require "dgrun.core.unknown"

local M = {}

---In the metadata of such a machine: the run that made it.
local MARK = "dgrun_one_off"
local WAIT_SECONDS = 300

---@class dgrun.fly.run.options
---@field app string
---@field command string[]
---@field group? string whose configuration it gets: app, or the only process group there is
---@field region? string that of the machine whose configuration it gets
---@field timeout? number seconds it may run; any
---@field on_line? fun(line: string) what it writes, as it comes; the result has it when absent

---@class dgrun.fly.run.result
---@field id string of the machine
---@field image string by digest
---@field exit_code integer -1 when nobody knows
---@field oom_killed boolean
---@field stdout? string what it wrote, to both of its streams

local options = { app = "string", command = "table", group = "string?", region = "string?",
    timeout = "seconds?", on_line = "function?" }

---Has the run ended that made it? nil when that cannot be seen from here.
local function is_abandoned(id)
    local current = run.current()
    local row = current and id ~= current.id
        and journal.run(store_of.current(), id)
    return row and process.ended(row) or nil
end

local busy = { started = true, starting = true, stopping = true }

---@param all table[] the machines of the app
local function remove_leftovers(app, all)
    for _, machine in ipairs(all) do
        local owner = machine.config and (machine.config.metadata or {})[MARK]
        local there = owner and not machines.is_gone(machine)
        if there and is_abandoned(owner) then
            effect.write {
                kind = "fly.machine.destroy", target = app .. "/" .. machine.id,
                summary = ("destroy machine %s of %s, left by a killed command"):format(
                    machine.id, app), before = { state = machine.state },
                apply = function() machines.destroy(app, machine.id) end,
            }
        elseif there and not busy[machine.state] then
            effect.note(("run %s created machine %s for a command and never started it; "
                .. "%s removes it"):format(owner, machine.id, api.command "machines destroy"))
        end
    end
end

local function release_of(machine)
    return tonumber((machine.config.metadata or {}).fly_release_version) or 0
end

---The machine to be like: of the group, and of the newest release.
local function model(opts, all)
    local groups, names, best = {}, {}, {}
    for _, machine in ipairs(all) do
        if machines.is_managed(machine) and machine.config then
            local group = machines.group(machine)
            if not best[group] then
                names[#names + 1], groups[group] = group, true
            end
            if not best[group] or release_of(machine) > release_of(best[group]) then
                best[group] = machine
            end
        end
    end
    table.sort(names)
    if #names == 0 then
        err.raise { code = "fly.no_machine", op = "fly.run",
            msg = opts.app .. " has no machine to copy the image and the configuration from",
            hint = "Deploy the app first." }
    elseif opts.group then
        check.known(opts.group, groups, opts.app .. " has no process group", "input.unknown")
    elseif not groups.app and #names > 1 then
        err.raise { code = "input.missing", op = "fly.run",
            msg = ("%s has the process groups %s"):format(opts.app, format.list(names)),
            hint = "Choose the group whose configuration the command gets: --group "
                .. "" .. names[1] .. "." }
    end
    return best[opts.group or groups.app and "app" or names[1]]
end

local function config_of(opts, machine)
    local config = machine_config_of.copy_of(machine)
    local init = config.init or {}
    config.image = image_of.of_machine(machine)
    config.init = { cmd = json.array { unpack(opts.command) },
        entrypoint = init.entrypoint, swap_size_mb = init.swap_size_mb }
    -- It serves nobody, and a volume belongs to one machine.
    for _, name in ipairs { "services", "checks", "metrics", "statics", "schedule", "mounts",
        "processes", "containers", "volumes" } do
        config[name] = nil
    end
    config.env = config.env or {}
    config.env.FLY_STANDBY_FOR = nil
    local current = run.current()
    -- Without fly_platform_version: deploys leave it alone.
    config.metadata = { [MARK] = current and current.id or "none",
        dgrun_commit = commit_reader(opts.app)(machine) }
    return config
end

local function carry_out(opts, machine, on_line)
    local config = config_of(opts, machine)
    local exit, id = one_off.run {
        app = opts.app, config = config, region = opts.region or machine.region,
        secrets_version = secrets.version(opts.app), wait_timeout = WAIT_SECONDS,
        timeout = opts.timeout or 0, on_line = on_line,
        attached = true,
    }
    if not exit then
        err.raise { code = "fly.command_timeout", op = "fly.run", machine = id,
            msg = ("the command did not end within %s; its machine was destroyed"):format(
                format.duration(opts.timeout)) }
    end
    return { id = id, image = config.image, exit_code = exit.exit_code,
        oom_killed = exit.oom_killed }
end

---Runs a command on a new machine of the app, and destroys the machine behind it, also when it is
---cancelled.
---Errors: fly.no_machine, fly.command_timeout; how the command ended is no error.
---@param opts dgrun.fly.run.options
---@return dgrun.fly.run.result
function M.run(opts)
    check.options(opts, options, "fly.run")
    if #opts.command == 0 then
        err.raise { code = "input.missing", op = "fly.run", msg = "no command to run",
            hint = "Write the command after --: dgrun exec prod -- ls -l" }
    end
    machines.app(opts.app)
    local all = machines.list(opts.app)
    remove_leftovers(opts.app, all)
    local machine, lines = model(opts, all), {}
    local on_line = opts.on_line or function(line) lines[#lines + 1] = line .. "\n" end
    local result = effect.write {
        kind = "fly.machine.run", target = opts.app, name = "command",
        summary = ("run %s on a new machine of %s"):format(
            proc.shown(opts.command), opts.app),
        apply = function() return carry_out(opts, machine, on_line) end,
    }
    -- Behind the effect: the journal does not keep what it wrote, which may be secret.
    if not opts.on_line and not effect.planning() then
        result.stdout = table.concat(lines)
    end
    return result
end

---How a command on a machine ended, as an error; nil when it ended well. Its exit code is that of
---dgrun, as ssh does it: what runs a command somewhere else is used in place of the command.
---@param exit {exit_code?: integer, exit_signal?: integer, oom_killed?: boolean}
---@return dgrun.err?
function M.exit_problem(exit)
    local code, signal = exit.exit_code or 0, exit.exit_signal or 0
    if unknown.is(code) or code == 0 and signal <= 0 then
        return nil
    elseif signal > 0 then
        return err.new { code = "command.failed", exit_status = 128 + signal,
            msg = ("the command was ended by signal %d"):format(signal) }
    end
    return err.new {
        code = "command.failed", exit_status = code > 0 and code < 256 and code or 1,
        msg = code < 0 and "the command has ended; its exit code is unknown"
            or ("the command exited with code %d%s"):format(code,
                exit.oom_killed and ", out of memory" or ""),
    }
end

return M
