-- Cron machines: machines with a schedule, on the image of the app's web machines. No deploy of
-- Fly's touches them, so this does. Each has a declaration, in environments.yaml or in Lua, and its
-- own fly.cron*.toml with the command, the size and the region.
local check = require "dgrun.core.check"
local clock = require "dgrun.fly.clock"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local given = require "dgrun.project.environment_options"
local inventory = require "dgrun.cron.inventory"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.cron.declaration
---@field name string of the machine
---@field config string its fly.cron*.toml, below `dir`
---@field schedule "hourly"|"daily"|"weekly"|"monthly" Fly has no others, and no time of day
---@field when_running? {wait?: string|number, ["then"]?: "skip"|"fail"|"interrupt"} how long an
---  update waits for a tick to end, "30m", and what happens when it does not, "skip"
---@field optional? boolean verify excuses its absence, but not drift
---@field create? boolean false: it is only ever updated, never created
---@field gate? dgrun.cron.condition it is created only when this passes, updated always
---@field when? fun(cron: dgrun.cron.gate): boolean, string? a gate: the machine is created only
---  when it answers true, updated always; cron.run{"python", "-m", "app.ready"} runs a command as
---  the cron machine would be, and gives its exit code

---@class dgrun.cron.options
---@field environment? dgrun.environment gives `app` and `crons`
---@field source? dgrun.git.source gives `dir`
---@field app? string
---@field crons? dgrun.cron.declaration[]
---@field image? string that of the app's web machines, when absent; compared by digest where that
---  is known
---@field dir? string where the configuration files are, "."

local options = { app = "string", crons = "table", image = "value?", dir = "string?" }

local fill = { app = given.app, crons = given.crons, dir = given.dir }

---Options of a function, and its `wait` as seconds.
local function checked(opts, more, op)
    opts = given.fill(opts, fill, op)
    check.options(opts, tables.merged(options, more), op)
    local wait = opts.wait ~= nil and format.seconds(opts.wait)
    if opts.wait ~= nil and not wait then
        err.raise { code = "input.invalid", op = op,
            msg = ("%s: wait must be a duration such as 10m, not '%s'"):format(op,
                tostring(opts.wait)) }
    end
    return opts, wait or nil
end

---The options with the image of the web machines, where they have none.
local function with_image(opts)
    if opts.image ~= nil then
        return opts
    end
    local copy = { image = inventory.web_image(opts.app) }
    for name, value in pairs(opts) do
        copy[name] = value
    end
    return copy
end

---The image of the app's web machines, by digest.
---@param opts {app: string}
---@return string
function M.image(opts)
    check.options(opts, { app = "string" }, "cron.image")
    return inventory.web_image(opts.app)
end

---Creates the cron machines, or makes them as declared: image, command, entrypoint, environment,
---size, schedule, region, restart policy and the app's current secrets, whoever changed those. A
---machine is not changed in the middle of a tick (`when_running`), and started afterwards: without
---that its schedule stands still. One whose region differs is destroyed and created where it is
---declared. Machines that are there twice, and cron machines that nobody declares, are told, and
---with `prune` removed.
---Errors: cron.busy, cron.config, cron.invalid_schedule, cron.declared_twice, cron.name_taken,
---cron.cannot_move, those of fly.machines.
---@param opts dgrun.cron.options|{prune?: boolean}
---@return {name: string, id?: string, skipped?: "tick"|"gate"}[] # skipped: it is left as it was
function M.sync(opts)
    opts = checked(opts, { prune = "boolean?" }, "cron.sync")
    return require("dgrun.cron.sync").run(with_image(opts))
end

---A second chance for the machines that `sync` left alone since a tick ran: to be called late in a
---pipeline, before `verify`. What is as declared is left alone; nothing is created.
---@param opts dgrun.cron.options|{wait?: string|number} wait: for a tick, 10m or what
---  `when_running` says if that is less
---@return {name: string, id?: string, skipped?: "tick"}[]
function M.settle(opts)
    local wait
    opts, wait = checked(opts, { wait = "any?" }, "cron.settle")
    if effect.planning() then
        effect.note("would try again to update cron machines whose job was running")
        return {}
    end
    return require("dgrun.cron.sync").run(with_image(opts), { settling = true, wait = wait })
end

---Raises cron.drift, with a line for each thing that is wrong: a machine that is missing, is not as
---declared, is there twice, was left stopped, missed a tick, or whose last tick ended badly. A tick
---that an update has just started is waited for, so that its exit code is known.
---@param opts dgrun.cron.options|{optional?: boolean, wait?: string|number} optional: any of them
---  may be missing, but not differ;
---  wait: how long for a tick that runs, 60 s
function M.verify(opts)
    local wait
    opts, wait = checked(opts, { optional = "boolean?", wait = "any?" }, "cron.verify")
    if effect.planning() then
        effect.note("would verify the cron machines")
        return
    end
    require("dgrun.cron.verify").run {
        app = opts.app, crons = opts.crons, image = with_image(opts).image, dir = opts.dir,
        optional = opts.optional, wait = wait,
    }
end

---The cron machines of an app: what is declared beside what is there. `problems` tells what
---`verify` would say.
---@param opts {app: string, crons?: dgrun.cron.declaration[], image?: string, dir?: string,
---  known?: dgrun.cron.known} image: that of the web machines; known: is not asked for again
---@return dgrun.cron.row[]
function M.list(opts)
    check.options(opts, { app = "string", crons = "table?", image = "value?", dir = "string?",
        known = "table?" }, "cron.list")
    return require("dgrun.cron.verify").list(opts)
end

---The cron machines of several targets, asked for side by side; a target that does not answer is
---reported as such.
---@param targets dgrun.target[]
---@param strict? boolean something that is wrong is an error, of code refused.cron
---@return dgrun.cron.target[]
---@return dgrun.err? # of the first target that could not be asked, else of what is wrong
function M.overview(targets, strict)
    return require("dgrun.cron.verify").overview(targets, strict)
end

---What time it is for Fly, whose clock schedules go by: by the date of its last answer.
---@return number seconds since 1970
function M.now()
    return clock.now()
end

---Runs the job of a cron machine now: on a machine of its own that is like it, has no schedule and
---is destroyed behind the job. Where one runs already, as that of a run that was killed, its end
---is waited for instead.
---Errors: cron.no_machine, cron.run_timeout, refused.cron_running.
---@param opts {app: string, name: string, timeout?: number, beside?: boolean,
---  on_line?: fun(line: string)} name: or its id; timeout: seconds; beside: also while a tick of
---  the cron machine runs; on_line: gets what it prints, instead of the run's log
---@return {exit_code: integer, oom_killed: boolean, machine: string} # exit code -1: not known
function M.run_now(opts)
    check.options(opts, { app = "string", name = "string", timeout = "seconds?",
        beside = "boolean?", on_line = "function?" }, "cron.run_now")
    return require("dgrun.cron.manual").run_now(opts)
end

---Brings cron machines to another image, and to the app's current secrets; all else stays as it is,
---whatever is declared. They are started afterwards, as by `sync`.
---@param opts {app: string, crons?: dgrun.cron.declaration[], name?: string, image?: string,
---  dir?: string, when_running?: dgrun.cron.when_running} name: only this one, else all that are
---  declared; image: that of the web machines; dir: where the configuration files are
---@return {name: string, id: string, changed: boolean, skipped?: boolean}[]
---@return dgrun.err? # refused.cron_drift: what else of them is not as declared
function M.update_image(opts)
    check.options(opts, { app = "string", crons = "table?", name = "string?", image = "value?",
        dir = "string?", when_running = "table?" }, "cron.update_image")
    return require("dgrun.cron.manual").update_image(opts)
end

---Removes a cron machine that nobody declares, or one of two; a declared one is refused.
---@param opts {app: string, machine: string, crons?: dgrun.cron.declaration[],
---  when_running?: dgrun.cron.when_running} machine: its name or id
---@return {id: string, skipped?: boolean}
function M.remove(opts)
    check.options(opts, { app = "string", machine = "string", crons = "table?",
        when_running = "table?" }, "cron.remove")
    return require("dgrun.cron.manual").remove(opts)
end

return M
