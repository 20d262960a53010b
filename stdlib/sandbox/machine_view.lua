-- A machine as the API shows it, whole or short, and the filters of lists.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local faults = require "sandbox.faults"
local json = require "dgrun.core.json"
local leases = require "sandbox.leases"
local lifecycle = require "sandbox.lifecycle"
local time = require "host.time"

local M = {}

local EVENTS_SHOWN = 20

---The newest events.
function M.events(machine, limit)
    local events = json.array {}
    for i = 1, math.min(#machine.events, limit) do
        events[i] = machine.events[i]
    end
    return events
end

local function summary(machine)
    return {
        id = machine.id, name = machine.name, state = machine.state, region = machine.region,
        image_ref = machine.image_ref, instance_id = machine.instance_id,
        private_ip = machine.private_ip, created_at = machine.created_at,
        updated_at = machine.updated_at, cordoned = machine.cordoned,
        host_status = machine.host_status or "ok",
    }
end

---@param context? table of the request: whether leases are to be seen
function M.face(world, machine, context)
    local shown = summary(machine)
    local lease = context and context.query.include_leases == "true"
        and leases.current(world, machine)
    -- What a host that is not reachable runs cannot be known for sure.
    local lost = machine.host_status and machine.host_status ~= "ok"
    shown[lost and "incomplete_config" or "config"] = machine.config
    shown.events = M.events(machine, EVENTS_SHOWN)
    shown.checks = lifecycle.checks(machine)
    shown.lease = lease and { owner = lease.owner, description = lease.description,
        expires_at = math.floor(lease.expires) } or nil
    return shown
end

---One of `GET /v1/orgs/{slug}/machines`.
function M.of_organization(app, machine)
    local config = machine.config
    return {
        app_name = app.name, id = machine.id, name = machine.name, state = machine.state,
        region = machine.region, private_ip = machine.private_ip,
        created_at = machine.created_at, updated_at = machine.updated_at,
        version = machine.instance_id,
        config = { image = config.image, guest = config.guest, metadata = config.metadata },
    }
end

local function words(text)
    local found = {}
    for word in (text or ""):gmatch("[^,%s]+") do
        found[word] = true
    end
    return next(found) and found or nil
end

local function metadata_fits(query, machine)
    for name, value in pairs(query) do
        local key = name:match("^metadata%.(.+)$")
        if key and machine.config.metadata[key] ~= value then
            return false
        end
    end
    return true
end

---A test for machines by a query: state, region, include_deleted, updated_after, metadata.KEY.
---@param query table<string, string>
---@return fun(machine: table): boolean
function M.filter(query)
    local states, regions = words(query.state), words(query.region)
    local after
    if query.updated_after and query.updated_after ~= "" then
        after = time.parse(query.updated_after)
            or answer.fail(400, "invalid_argument: updated_after is not a time of RFC 3339")
    end
    return function(machine)
        if machine.state == "destroyed" and query.include_deleted ~= "true" then
            return false
        end
        return (not states or states[machine.state] == true)
            and (not regions or regions[machine.region] == true)
            and (not after or time.parse(machine.updated_at) > after)
            and metadata_fits(query, machine)
    end
end

---The list of one app.
function M.list(world, context)
    local fits = M.filter(context.query)
    local stale = faults.stale_seconds(world)
    local now = clock.now(world)
    local machines = json.array {}
    for _, machine in pairs(context.app.machines) do
        local unseen = stale and machine.session ~= context.session
            and now - machine.born < stale
        if fits(machine) and not unseen then
            machines[#machines + 1] = context.query.summary == "true" and summary(machine)
                or M.face(world, machine, context)
        end
    end
    table.sort(machines, function(a, b) return a.id < b.id end)
    return machines
end

return M
