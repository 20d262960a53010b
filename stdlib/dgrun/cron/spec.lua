-- What is declared of a cron machine: an entry of environments.yaml or of a list in Lua, and the
-- fly.cron*.toml it names, which has the command, size and region.
local check = require "dgrun.core.check"
local config_of = require "dgrun.fly.config"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local machine_config_of = require "dgrun.fly.machine_config"
local schedule_of = require "dgrun.core.schedule"
local secrets_state = require "dgrun.fly.secrets"
local tables = require "dgrun.core.table"
local volumes = require "dgrun.fly.volumes"

local M = {}

local spec = { name = "string", config = "string", schedule = "string", when_running = "table?",
    optional = "boolean?", when = "function?", create = "boolean?", gate = "table?" }

local outcomes = { skip = true, fail = true, interrupt = true }

local DEFAULT_GUEST = { cpu_kind = "shared", cpus = 1, memory_mb = 256 }

local function check_when_running(cron, op)
    local when = check.options(cron.when_running or {}, { wait = "any?", ["then"] = "string?" },
        ("%s: %s: when_running"):format(op, cron.name))
    if when.wait ~= nil and not format.seconds(when.wait) then
        err.raise { code = "input.invalid", op = op,
            msg = ("%s: when_running.wait must be a duration such as 30m, not '%s'"):format(
                cron.name, tostring(when.wait)) }
    elseif when["then"] then
        check.known(when["then"], outcomes, cron.name .. ": when_running does not know the outcome",
            "input.invalid")
    end
end

local function check_one(cron, op)
    check.options(cron, spec, ("%s: %s"):format(op, type(cron) == "table"
        and tostring(cron.name or "a cron machine") or "a cron machine"))
    if not schedule_of.is(cron.schedule) then
        err.raise { code = "cron.invalid_schedule", op = op, schedule = cron.schedule,
            msg = ("%s: the schedule must be %s"):format(cron.name,
                schedule_of.misfit(cron.schedule)),
            hint = schedule_of.explain(cron.schedule) }
    end
    check_when_running(cron, op)
end

---Refuses a list of declarations with something wrong in it.
---@param crons dgrun.cron.declaration[]
---@param op string
function M.check(crons, op)
    local seen = {}
    for _, cron in ipairs(crons) do
        check_one(cron, op)
        if seen[cron.name] then
            err.raise { code = "cron.declared_twice", op = op,
                msg = ("two cron machines are declared as '%s'"):format(cron.name),
                hint = "Give each a unique name; dgrun finds machines by name." }
        end
        seen[cron.name] = true
    end
end

local function refuse(path, text, hint)
    err.raise { code = "cron.config", op = "cron", hint = hint,
        msg = ("%s: %s"):format(path, text) }
end

---The one command that the file of a cron machine has.
local function group_of(config)
    local groups = config_of.groups(config)
    if #groups > 1 then
        refuse(config.path, ("the file has the process groups %s, but a cron machine runs one "
            .. "command")
            :format(format.list(groups)), "Give each cron machine its own file.")
    end
    return groups[1]
end

---Is it meant that the machine, or its file, may be missing?
---@param cron dgrun.cron.declaration
---@return boolean
function M.may_be_missing(cron)
    return M.is_conditional(cron) or cron.optional == true or cron.when ~= nil
end

---Is the machine created under a condition, so that it may be missing?
---@param cron dgrun.cron.declaration
---@return boolean
function M.is_conditional(cron)
    return cron.create == false or cron.gate ~= nil
end

---@class dgrun.cron.base what the file of a declaration says
---@field config table of the machine, without image and metadata
---@field region? string
---@field source dgrun.fly.config

---@param cron dgrun.cron.declaration
---@param dir string where its file is
---@return dgrun.cron.base
function M.load(cron, dir)
    local source = config_of.load(dir / cron.config)
    local config = config_of.machine(source, group_of(source))
    local init = config.init
    if not init.cmd and not init.entrypoint and not init.exec and not config.processes
        and not config.containers then
        refuse(source.path, "the file names no command, so the machine would run the image's "
            .. "default: "
            .. "a second web server that never ends",
            '[processes]\ncron = "python -m app.cli.job"')
    end
    config.env.FLY_PROCESS_GROUP = nil
    -- Nobody asks a cron machine anything.
    config.services, config.checks = nil, nil
    config.schedule = cron.schedule
    config.restart = config.restart or { policy = "on-failure" }
    return { config = config, region = source.primary_region, source = source }
end

local function foreign_metadata(machine)
    local kept = {}
    for name, value in pairs(machine and machine.config and machine.config.metadata or {}) do
        if not name:find("^dgrun_") then
            kept[name] = value
        end
    end
    return kept
end

---The configuration that the machine of a declaration is to have.
---@param cron dgrun.cron.declaration
---@param base dgrun.cron.base
---@param to {image: string, secrets: dgrun.fly.secrets_state}
---@param machine? table as it is
---@return table config of the Machines API
function M.wanted(cron, base, to, machine)
    local config = tables.copy(base.config)
    machine_config_of.set_image(base.source, config, to.image)
    config.guest = config.guest
        or tables.copy(machine and machine.config and machine.config.guest or DEFAULT_GUEST)
    -- Without fly_platform_version: fly deploy leaves such machines alone.
    config.metadata = foreign_metadata(machine)
    config.metadata.dgrun_cron = cron.name
    secrets_state.mark(to.secrets, config.metadata, machine)
    if machine and machine.config then
        config.mounts = volumes.kept(config.mounts, machine)
    end
    return config
end

return M
