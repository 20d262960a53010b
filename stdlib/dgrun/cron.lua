-- Cron machines: a machine with a schedule, on the image of the app's web machines. Its whole
-- declaration converges: image, command, environment, size, schedule, restart.
local changes_of = require "dgrun.fly.changes"
local check = require "dgrun.check"
local config_of = require "dgrun.fly.config"
local cron_machine = require "dgrun.cron_machine"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local image_of = require "dgrun.fly.image"
local machines = require "dgrun.fly.machines"

local M = {}

local schedules = { hourly = true, daily = true, weekly = true, monthly = true }

---@class dgrun.cron.declaration
---@field name string of the machine
---@field config string its fly.cron*.toml, below `dir`
---@field schedule "hourly"|"daily"|"weekly"|"monthly"
---@field when_running? {wait?: string|number, ["then"]?: "skip"|"fail"|"interrupt"}

---@class dgrun.cron.options
---@field app string
---@field crons dgrun.cron.declaration[]
---@field image string of the app's web machines
---@field dir? string where the configuration files are, "."

local options = { app = "string", crons = "table", image = "value", dir = "string?" }

local declaration = { name = "string", config = "string", schedule = "string",
    when_running = "table?" }

---The image of the app's web machines, by digest.
---@param opts {app: string}
---@return string
function M.image(opts)
    check.options(opts, { app = "string" }, "cron.image")
    machines.app(opts.app)
    for _, machine in ipairs(machines.list(opts.app)) do
        if machines.is_managed(machine) and machines.group(machine) == "app" then
            return image_of.of_machine(machine)
        end
    end
    err.raise {
        code = "cron.no_web_machine", op = "cron.image", app = opts.app,
        msg = ("%s has no web machine (fly_process_group = app) to take the image from")
            :format(opts.app),
        hint = "Deploy the app first.",
    }
end

---The machine configuration of a declaration, and the region for it.
---@param version? integer of the app's secrets
local function wanted_of(opts, cron, version)
    check.options(cron, declaration, "cron.sync: " .. tostring(cron.name))
    if not schedules[cron.schedule] then
        err.raise {
            code = "cron.invalid_schedule", op = "cron.sync",
            msg = ("%s: the schedule '%s' is not one of hourly, daily, weekly, monthly"):format(
                cron.name, cron.schedule),
            hint = "Fly knows only these four, without a time of day.",
        }
    end
    local config = config_of.load((opts.dir or ".") / cron.config)
    local group = config_of.default_group(config)
    local wanted = config_of.machine(config, group)
    wanted.env.FLY_PROCESS_GROUP = nil
    wanted.services, wanted.checks = nil, nil
    wanted.schedule = cron.schedule
    wanted.restart = wanted.restart or { policy = "on-failure" }
    -- Without fly_platform_version: fly deploy leaves such machines alone.
    wanted.metadata = {
        dgrun_cron = cron.name, dgrun_secrets = version and tostring(version) or nil,
    }
    wanted.image = opts.image
    return wanted, config.primary_region
end

local function find(all, name)
    for _, machine in ipairs(all) do
        local metadata = machine.config and machine.config.metadata or {}
        if machine.state ~= "destroyed" and machine.state ~= "destroying"
            and (metadata.dgrun_cron == name or machine.name == name) then
            return machine
        end
    end
end

local function sync_one(opts, cron, all)
    local version = require("dgrun.secrets").version(opts.app)
    local wanted, region = wanted_of(opts, cron, version)
    local machine = find(all, cron.name)
    if not machine then
        return effect.write {
            kind = "fly.machine.create", target = opts.app .. "/" .. cron.name, name = "machine",
            summary = ("create the cron machine %s, %s"):format(cron.name, cron.schedule),
            after = changes_of.readable(wanted),
            apply = function()
                local created = machines.create(opts.app, { name = cron.name, region = region,
                    config = wanted, min_secrets_version = version })
                return { id = created.id }
            end,
        }
    elseif changes_of.is_current(machine, wanted) then
        if machine.state == "stopped" and not machines.was_started(machine) then
            return cron_machine.arm(opts.app, machine)
        end
        effect.note(("%s is as declared"):format(cron.name))
        return { id = machine.id }
    end
    return effect.write {
        kind = "fly.machine.update", target = opts.app .. "/" .. cron.name,
        summary = ("update the cron machine %s"):format(cron.name), name = "machine",
        before = changes_of.readable(machine.config, image_of.of_machine(machine)),
        after = changes_of.readable(wanted),
        apply = function()
            return cron_machine.update(opts.app, machine, { config = wanted, version = version,
                when_running = cron.when_running })
        end,
    }
end

---Creates the cron machines, or makes them as declared.
---@param opts dgrun.cron.options
---@return {id: string}[]
function M.sync(opts)
    check.options(opts, options, "cron.sync")
    machines.app(opts.app)
    local all = machines.list(opts.app)
    local results = {}
    for i, cron in ipairs(opts.crons) do
        results[i] = require("dgrun.fly.dossier").around(opts.app, sync_one, opts, cron, all)
    end
    return results
end

local function differences(machine, wanted)
    local found = {}
    if not image_of.same(image_of.of_machine(machine), wanted.image) then
        found[1] = ("it is on %s, not %s"):format(image_of.of_machine(machine), wanted.image)
    end
    for _, name in ipairs { "schedule", "init", "env", "guest", "restart" } do
        local probe = { image = image_of.of_machine(machine), env = machine.config.env,
            metadata = machine.config.metadata, init = machine.config.init,
            schedule = machine.config.schedule, restart = machine.config.restart,
            stop_config = machine.config.stop_config, guest = machine.config.guest }
        probe[name] = wanted[name]
        if not changes_of.is_current(machine, probe) then
            found[#found + 1] = ("%s differs from the declaration"):format(
                name == "init" and "the command" or name)
        end
    end
    return found
end

local function last_tick(machine)
    for _, event in ipairs(machine.events or {}) do
        if event.type == "start" then
            return event.timestamp / 1000
        end
    end
end

---@class dgrun.cron.inspection
---@field name string
---@field id? string of the machine
---@field state string of the machine; "missing" where there is none
---@field drift? string[] how it differs from its declaration; nil where that is not known
---@field unknown? string why it is not
---@field last_tick? number unix seconds
---@field exit_code? integer of the last tick that ended

local function inspected(opts, cron, all)
    local machine = find(all, cron.name)
    if not machine then
        return { name = cron.name, state = "missing", drift = { "it does not exist" } }
    end
    local ok, found = pcall(function() return differences(machine, (wanted_of(opts, cron))) end)
    if not ok and err.is(found, "cancelled") then
        err.raise(found)
    end
    local exit = machines.last_exit(machine)
    return {
        id = machine.id, name = cron.name, state = machine.state, drift = ok and found or nil,
        unknown = not ok and found.msg or nil, last_tick = last_tick(machine),
        exit_code = exit and exit.exit_code,
    }
end

---How the cron machines are, against their declarations. Only looks.
---@param opts dgrun.cron.options|{machines?: table[]} machines: those of the app, when they are
---  known already
---@return dgrun.cron.inspection[]
function M.inspect(opts)
    check.options(opts, { app = "string", crons = "table", image = "string", dir = "string?",
        machines = "table?" }, "cron.inspect")
    local all = opts.machines or machines.list(opts.app)
    local list = {}
    for i, cron in ipairs(opts.crons) do
        list[i] = inspected(opts, cron, all)
    end
    return list
end

---Raises cron.drift when a cron machine is missing or not as declared.
---@param opts dgrun.cron.options
function M.verify(opts)
    check.options(opts, options, "cron.verify")
    if effect.planning() then
        effect.note("would verify the cron machines")
        return
    end
    local all = machines.list(opts.app)
    local drift = {}
    for _, cron in ipairs(opts.crons) do
        local machine = find(all, cron.name)
        if not machine then
            drift[#drift + 1] = cron.name .. " does not exist"
        else
            for _, text in ipairs(differences(machine, (wanted_of(opts, cron)))) do
                drift[#drift + 1] = ("%s: %s"):format(cron.name, text)
            end
        end
    end
    if #drift > 0 then
        err.raise { code = "cron.drift", op = "cron.verify", drift = drift,
            msg = "cron machines of " .. opts.app .. " are not as declared: "
                .. table.concat(drift, "; "),
            hint = "Run it again when no tick is running." }
    end
    effect.note(("%d cron machine(s) are as declared"):format(#opts.crons))
end

return M
