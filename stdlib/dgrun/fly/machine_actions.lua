-- What `dgrun machines` does to several machines, one after the other: the next one only when the
-- one before is as it should be.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local commit_reader = require("dgrun.fly.commit").reader
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local health = require "dgrun.fly.health"
local machines = require "dgrun.fly.machines"
local rows = require "dgrun.fly.machine_view"

local M = {}

local HEALTHY_SECONDS = 300

---Those that serve: what deploys touch, without those that stand by for others. A cron machine is
---none: it would run its job.
local function serving(app)
    local list = {}
    for _, machine in ipairs(machines.list(app)) do
        if machines.is_managed(machine) and not (machine.config or {}).standbys then
            list[#list + 1] = machine
        end
    end
    table.sort(list, function(a, b) return a.id < b.id end)
    return list
end

local function refuse(code, msg, hint)
    err.raise { code = code, op = "fly.machines", msg = msg, hint = hint }
end

---@param opts {app: string, words?: string[], all?: boolean, group?: string, region?: string}
---@return table[] machines
local function chosen(opts)
    machines.app(opts.app)
    local words = opts.words or {}
    if opts.all and #words > 0 then
        refuse("input.invalid", "name machines or use --all, not both")
    elseif (opts.group or opts.region) and not opts.all then
        refuse("input.invalid", "--group and --region filter all machines: add --all")
    elseif #words > 0 then
        return machines.find(opts.app, words)
    elseif not opts.all then
        refuse("input.missing", "which machines?", "Name machines, or use --all. "
            .. api.command "machines list" .. " lists the machines.")
    end
    local list = {}
    for _, machine in ipairs(serving(opts.app)) do
        if (not opts.group or machines.group(machine) == opts.group)
            and (not opts.region or machine.region == opts.region) then
            list[#list + 1] = machine
        end
    end
    if #list == 0 then
        refuse("fly.no_machine", ("%s has no such machine"):format(opts.app),
            "Only machines that deploys update count, without standby machines.")
    end
    return list
end

---What all of them means for an action: those that are not up have nothing to restart or suspend.
local only_started = { restart = true, suspend = true }

---What has to be so before any of them is touched.
local before = {
    destroy = function(app, list, how)
        for _, machine in ipairs(list) do
            if not how.force and machine.state ~= "stopped" and machine.state ~= "suspended" then
                refuse("fly.not_stopped", ("machine %s of %s is %s; none was destroyed"):format(
                    machine.id, app, machine.state), "Stop it first, or use --force.")
            end
        end
    end,
}

---When the next one's turn is.
local behind = {
    restart = function(app, machine)
        health.wait(app, machine, HEALTHY_SECONDS)
    end,
}

local function act(operations, verb, app, machine, how)
    local one = { app = app, id = machine.id }
    for name, value in pairs(how) do
        one[name] = value
    end
    operations[verb](one)
    if behind[verb] and not effect.planning() then
        behind[verb](app, machine)
    end
end

---Does something to machines: start, stop, restart, suspend, cordon, uncordon, signal, destroy. All
---machines (`all`) are those that deploys touch, without those that stand by for others.
---Errors: fly.not_found, input.ambiguous_machine, input.missing, fly.not_stopped, fly.unhealthy and
---those of the action.
---@param operations table the actions on one machine by verb: operations.lua
---@param verb string
---@param opts {app: string, words?: string[], all?: boolean, group?: string, region?: string,
---  how?: table} how: options of the action, such as {force = true}
---@return dgrun.fly.machine.row[] # as they are then; those that are gone are "destroyed"
function M.each(operations, verb, opts)
    check.options(opts, { app = "string", words = "table?", all = "boolean?", group = "string?",
        region = "string?", how = "table?" }, "fly.machines.each")
    local list, how = chosen(opts), opts.how or {}
    if before[verb] then
        before[verb](opts.app, list, how)
    end
    for _, machine in ipairs(list) do
        if opts.all and only_started[verb] and machine.state ~= "started" then
            effect.note(("machine %s is %s; leaving it "
                .. "unchanged"):format(machine.id, machine.state))
        else
            act(operations, verb, opts.app, machine, how)
        end
    end
    local now = {}
    for i, machine in ipairs(list) do
        now[i] = machines.get(opts.app, machine.id) or machine
        if verb == "destroy" and not effect.planning() then
            now[i].state = "destroyed"
        end
    end
    return rows.all(now, commit_reader(opts.app))
end

return M
