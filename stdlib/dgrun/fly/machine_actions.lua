-- Machines by hand, one or several: what `fly machine …` does, as effects. A machine is changed
-- under its lease, so that no deploy is in the middle of it.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local commit_reader = require("dgrun.fly.commit").reader
local dossier = require "dgrun.fly.diagnosis"
local duration = require "dgrun.core.duration"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local health = require "dgrun.fly.health"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local leases = require "dgrun.fly.lease"
local machine_config_of = require "dgrun.fly.machine_config"
local machines = require "dgrun.fly.machines"
local proc = require "dgrun.proc"
local rows = require "dgrun.fly.machine_view"

local M = {}

---@class dgrun.fly.machine.options
---@field app string
---@field id string

local DEFAULT_WAIT = 300
local EXEC_SECONDS = 30

local function path(opts, verb)
    return api.path("/v1/apps/%s/machines/%s", opts.app, opts.id) .. (verb or "")
end

local function options(opts, more, op)
    local spec = { app = "string", id = "string" }
    for name, kind in pairs(more) do
        spec[name] = kind
    end
    return check.options(opts, spec, op)
end

local function found(opts, op)
    return machines.get(opts.app, opts.id) or err.raise {
        code = "fly.not_found", op = op,
        msg = ("%s has no machine %s"):format(opts.app, opts.id),
        hint = "dg.fly.machines.list lists the machines.",
    }
end

---One change of a machine, under its lease.
local function change(opts, verb, more, apply)
    return effect.write {
        kind = "fly.machine." .. verb, target = opts.app .. "/" .. opts.id,
        summary = ("%s machine %s of %s"):format(more.text or verb, opts.id, opts.app),
        before = more.before, after = more.after, name = "machine",
        apply = function()
            if more.no_lease then
                return apply()
            end
            return dossier.around(opts.app, leases.with, opts.app, { opts.id }, function(nonces)
                return apply(nonces[opts.id])
            end)
        end,
    }
end

local function wait_for(opts, state, seconds)
    if seconds ~= 0 and not effect.planning() then
        machines.wait(opts.app, opts.id, { state = state, seconds = seconds or DEFAULT_WAIT })
    end
end

---@class dgrun.fly.machines.list
---@field app string
---@field group? string a process group
---@field region? string
---@field state? string
---@field managed? boolean only those that deploys touch, or only the others

---@param opts dgrun.fly.machines.list
---@return table[] machines as the API shows them, without destroyed ones
function M.list(opts)
    check.options(opts, { app = "string", group = "string?", region = "string?",
        state = "string?", managed = "boolean?" }, "fly.machines.list")
    machines.app(opts.app)
    local list = {}
    for _, machine in ipairs(machines.list(opts.app)) do
        if machine.state ~= "destroyed"
            and (not opts.group or machines.group(machine) == opts.group)
            and (not opts.region or machine.region == opts.region)
            and (not opts.state or machine.state == opts.state)
            and (opts.managed == nil or machines.is_managed(machine) == opts.managed) then
            list[#list + 1] = machine
        end
    end
    return list
end

---@param opts dgrun.fly.machine.options
---@return table machine as the API shows it
function M.get(opts)
    return found(options(opts, {}, "fly.machines.get"), "fly.machines.get")
end

---What a person wants to know of each, as data: by group, region and name.
---@param opts dgrun.fly.machines.list
---@return dgrun.fly.machine.row[]
function M.overview(opts)
    local list = json.array {}
    for _, row in ipairs(rows.all(M.list(opts), commit_reader(opts.app))) do
        -- One that no deploy touches is in no group.
        list[#list + 1] = (not opts.group or row.group == opts.group) and row or nil
    end
    return list
end

---The machines that words name: whole ids, beginnings of ids, names.
---Errors: fly.not_found, input.ambiguous_machine.
---@param opts {app: string, words: string[]}
---@return table[] machines as the API shows them
function M.find(opts)
    check.options(opts, { app = "string", words = "table" }, "fly.machines.find")
    machines.app(opts.app)
    return machines.find(opts.app, opts.words)
end

---What happened to a machine, newest first.
---@param opts {app: string, id: string, limit?: integer} limit: 20, at most 50
---@return dgrun.fly.machine.event[]
function M.events(opts)
    options(opts, { limit = "integer?" }, "fly.machines.events")
    found(opts, "fly.machines.events")
    return rows.events(api.machines("GET", path(opts, "/events"),
        { query = { limit = opts.limit or 20 } }))
end

---A row of the overview, with `events` and, once the machine has ended, `last_exit`.
---@param opts dgrun.fly.machine.options
---@return dgrun.fly.machine.row
function M.status(opts)
    local machine = M.get(opts)
    local row = rows.of(machine, commit_reader(opts.app)) ---@type table
    row.events, row.last_exit = rows.events(machine.events or {}), machines.last_exit(machine)
    return row
end

---Brings a machine into a state and waits until it is there. Leaves a machine unchanged that is
---already in that state.
---@param verb string "start"
---@param wanted string "started"
---@param act fun(nonce: string)
local function bring_to(opts, verb, wanted, act)
    local state = found(opts, "fly.machines." .. verb).state
    if state == wanted then
        return effect.note(("machine %s is already %s"):format(opts.id, wanted))
    end
    change(opts, verb, { before = { state = state }, after = { state = wanted } }, act)
    wait_for(opts, wanted, opts.wait)
end

---Starts a machine and waits until it is started.
---@param opts {app: string, id: string, wait?: number} wait: seconds, 300; 0 does not wait
function M.start(opts)
    options(opts, { wait = "seconds?" }, "fly.machines.start")
    return bring_to(opts, "start", "started",
        function(nonce) machines.start(opts.app, opts.id, nonce) end)
end

---Stops a machine and waits until it is stopped.
---@param opts {app: string, id: string, signal?: string, timeout?: number, wait?: number}
---  signal: "SIGTERM"; timeout: seconds until it is killed; wait as for start
function M.stop(opts)
    options(opts, { signal = "string?", timeout = "seconds?", wait = "seconds?" },
        "fly.machines.stop")
    return bring_to(opts, "stop", "stopped",
        function(nonce) machines.stop(opts.app, opts.id, nonce, opts) end)
end

---@param opts {app: string, id: string, signal?: string, timeout?: number, force?: boolean,
---  wait?: number}
function M.restart(opts)
    options(opts, { signal = "string?", timeout = "seconds?", force = "boolean?",
        wait = "seconds?" }, "fly.machines.restart")
    found(opts, "fly.machines.restart")
    change(opts, "restart", {}, function(nonce)
        api.machines("POST", path(opts, "/restart"), { nonce = nonce, query = {
            timeout = opts.timeout and duration.of_seconds(opts.timeout),
            signal = opts.signal, force_stop = tostring(opts.force == true),
        } })
    end)
    wait_for(opts, "started", opts.wait)
end

---Suspends a machine, which keeps its memory, and waits until it is suspended.
---@param opts {app: string, id: string, wait?: number} wait as for start
function M.suspend(opts)
    options(opts, { wait = "seconds?" }, "fly.machines.suspend")
    return bring_to(opts, "suspend", "suspended",
        function(nonce) api.machines("POST", path(opts, "/suspend"), { nonce = nonce }) end)
end

local function set_cordoned(opts, verb, cordoned)
    options(opts, {}, "fly.machines." .. verb)
    if (found(opts, "fly.machines." .. verb).cordoned == true) == cordoned then
        return effect.note(("machine %s is already %sed"):format(opts.id, verb))
    end
    change(opts, verb, { before = { cordoned = not cordoned }, after = { cordoned = cordoned } },
        function(nonce) machines[verb](opts.app, opts.id, nonce) end)
end

---Takes a machine out of the proxy's sight: it gets no new requests.
---@param opts dgrun.fly.machine.options
function M.cordon(opts) set_cordoned(opts, "cordon", true) end

---@param opts dgrun.fly.machine.options
function M.uncordon(opts) set_cordoned(opts, "uncordon", false) end

---Sends a signal to the main process.
---@param opts {app: string, id: string, signal: string}
function M.signal(opts)
    options(opts, { signal = "string" }, "fly.machines.signal")
    change(opts, "signal", { text = ("send %s to"):format(opts.signal), no_lease = true },
        function()
            api.machines("POST", path(opts, "/signal"), { json = { signal = opts.signal } })
        end)
end

local function refuse(op, code, msg, hint)
    err.raise { code = code, op = op, msg = msg, hint = hint }
end

---Runs a command inside a machine that is up. When the answer is lost it is not run again.
---@param opts {app: string, id: string, command: string[], timeout?: number} timeout: seconds, 30
---@return {exit_code: integer, exit_signal: integer, stdout: string, stderr: string}
function M.exec(opts)
    local op = "fly.machines.exec"
    options(opts, { command = "table", timeout = "seconds?" }, op)
    local machine = found(opts, op)
    if #opts.command == 0 then
        refuse(op, "input.missing", "no command to run",
            "Write the command after --: dgrun machines exec prod ID -- ls -l")
    elseif machine.state ~= "started" then
        refuse(op, "fly.not_started", ("machine %s of %s is %s"):format(opts.id, opts.app,
            machine.state), "Start it first: " .. api.command "machines start" .. ".")
    end
    local timeout, answer = opts.timeout or EXEC_SECONDS, nil
    local result = effect.write {
        kind = "fly.machine.exec", target = opts.app .. "/" .. opts.id, name = "command",
        summary = ("run %s in machine %s of %s"):format(
            proc.shown(opts.command), opts.id, opts.app),
        apply = function()
            -- Not retried: a second execution may have a different effect.
            answer = api.machines("POST", path(opts, "/exec"), {
                json = { command = json.array { unpack(opts.command) }, timeout = timeout },
                timeout = timeout + 15, once = true,
            })
            -- What it wrote may be secret; the journal does not keep it.
            return { exit_code = answer.exit_code, exit_signal = answer.exit_signal }
        end,
    }
    return answer or result
end

---Destroys a machine and waits until it is gone; one that is gone already is fine. A running one
---only with `force`.
---@param opts {app: string, id: string, force?: boolean, wait?: number} wait as for start
function M.destroy(opts)
    options(opts, { force = "boolean?", wait = "seconds?" }, "fly.machines.destroy")
    local machine = machines.get(opts.app, opts.id)
    if not machine or machines.is_gone(machine) then
        return effect.note(("machine %s is already gone"):format(opts.id))
    elseif not opts.force and machine.state ~= "stopped" and machine.state ~= "suspended" then
        err.raise { code = "fly.not_stopped", op = "fly.machines.destroy",
            msg = ("machine %s of %s is %s"):format(opts.id, opts.app, machine.state),
            hint = "Stop it first, or set force = true." }
    end
    change(opts, "destroy", { before = { state = machine.state } },
        function(nonce) machines.destroy(opts.app, opts.id, nonce) end)
    wait_for(opts, "destroyed", opts.wait)
end

---Waits for a state.
---@param opts {app: string, id: string, state: string, seconds?: number} seconds: 300
function M.wait(opts)
    options(opts, { state = "string", seconds = "seconds?" }, "fly.machines.wait")
    wait_for(opts, opts.state, opts.seconds)
end

---The configuration of a machine for another: without what belongs to this one alone.
---@param opts dgrun.fly.machine.options
---@return table config of the Machines API
function M.configuration(opts)
    return machine_config_of.copy_of(M.get(opts))
end

---Creates a machine with the configuration of another.
---@param opts {app: string, id: string, name?: string, region?: string, stopped?: boolean}
---@return {id: string}
function M.clone(opts)
    options(opts, { name = "string?", region = "string?", stopped = "boolean?" },
        "fly.machines.clone")
    local machine = found(opts, "fly.machines.clone")
    local config = machine_config_of.copy_of(machine)
    -- The tag may have moved since; the copy is of what runs.
    config.image = image_of.of_machine(machine)
    return effect.write {
        kind = "fly.machine.create", target = opts.app, name = "machine",
        summary = ("create a machine like %s of %s"):format(opts.id, opts.app),
        after = { region = opts.region or machine.region, image = config.image, name = opts.name },
        apply = function()
            return { id = machines.create(opts.app, { name = opts.name, config = config,
                region = opts.region or machine.region, skip_launch = opts.stopped }).id }
        end,
    }
end

-- Several machines one after the other: the next one only when the previous one is as it should be.

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

---@param opts {app: string, words?: string[], all?: boolean, group?: string, region?: string}
---@return table[] machines
local function chosen(opts)
    machines.app(opts.app)
    local words = opts.words or {}
    if opts.all and #words > 0 then
        refuse("fly.machines", "input.invalid", "name machines or use --all, not both")
    elseif (opts.group or opts.region) and not opts.all then
        refuse("fly.machines", "input.invalid",
            "--group and --region filter all machines: add --all")
    elseif #words > 0 then
        return machines.find(opts.app, words)
    elseif not opts.all then
        refuse("fly.machines", "input.missing", "which machines?",
            "Name machines, or use --all. " .. api.command "machines list"
                .. " lists the machines.")
    end
    local list = {}
    for _, machine in ipairs(serving(opts.app)) do
        if (not opts.group or machines.group(machine) == opts.group)
            and (not opts.region or machine.region == opts.region) then
            list[#list + 1] = machine
        end
    end
    if #list == 0 then
        refuse("fly.machines", "fly.no_machine", ("%s has no such machine"):format(opts.app),
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
                refuse("fly.machines", "fly.not_stopped",
                    ("machine %s of %s is %s; none was destroyed"):format(machine.id, app,
                        machine.state), "Stop it first, or use --force.")
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

local function act(verb, app, machine, how)
    local one = { app = app, id = machine.id }
    for name, value in pairs(how) do
        one[name] = value
    end
    M[verb](one)
    if behind[verb] and not effect.planning() then
        behind[verb](app, machine)
    end
end

---Does something to machines: start, stop, restart, suspend, cordon, uncordon, signal, destroy. All
---machines (`all`) are those that deploys touch, without those that stand by for others.
---Errors: fly.not_found, input.ambiguous_machine, input.missing, fly.not_stopped, fly.unhealthy and
---those of the action.
---@param verb string "restart"
---@param opts {app: string, words?: string[], all?: boolean, group?: string, region?: string,
---  how?: table} how: options of the action, such as {force = true}
---@return dgrun.fly.machine.row[] # as they are then; those that are gone are "destroyed"
function M.each(verb, opts)
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
            act(verb, opts.app, machine, how)
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
