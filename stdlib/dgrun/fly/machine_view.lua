-- What is worth knowing of a machine, as plain data: a row of a list, its events, and the overview
-- that the status needs.
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local time = require "host.time"

local M = {}

---@class dgrun.fly.machine.row
---@field id string
---@field name? string
---@field group? string the process group; nil of a machine that no deploy touches
---@field schedule? string of a cron machine
---@field standby_for? string[] ids
---@field region string
---@field state string
---@field cordoned boolean
---@field host? string when it is not "ok": its host is "unreachable" or "unknown"
---@field checks {name: string, status: string, output?: string}[]
---@field image string by digest, where that is known
---@field commit? string that dgrun deployed
---@field release? integer its version
---@field created_at? string
---@field version_at? string since when it is as it is configured now

local alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

---When a ULID was made, seconds since 1970; nil of another text.
---@param id? string
---@return number?
function M.ulid_time(id)
    if type(id) ~= "string" or #id ~= 26 then
        return nil
    end
    local milliseconds = 0
    for letter in id:sub(1, 10):upper():gmatch "." do
        local at = alphabet:find(letter, 1, true)
        if not at then
            return nil
        end
        milliseconds = milliseconds * 32 + at - 1
    end
    return milliseconds / 1000
end

local function checks_of(machine)
    local checks = json.array {}
    for i, one in ipairs(machines.checks(machine)) do
        checks[i] = { name = tostring(one.name), status = tostring(one.status),
            output = one.output ~= "" and one.output or nil }
    end
    return checks
end

---@param machine table as the API shows it
---@param commit_of fun(machine: table): string? of fly.commit
---@return dgrun.fly.machine.row
function M.of(machine, commit_of)
    local config = machine.config or {}
    local metadata = config.metadata or {}
    local version_at = M.ulid_time(machine.instance_id)
    return {
        id = machine.id, name = machine.name, region = machine.region, state = machine.state,
        group = (machines.is_managed(machine) or metadata.fly_process_group)
            and machines.group(machine) or nil,
        schedule = config.schedule, standby_for = config.standbys,
        cordoned = machine.cordoned == true,
        host = machine.host_status ~= "ok" and machine.host_status or nil,
        checks = checks_of(machine), image = image_of.of_machine(machine),
        commit = commit_of(machine), release = tonumber(metadata.fly_release_version),
        created_at = machine.created_at, version_at = version_at and time.iso(version_at) or nil,
    }
end

---Rows by group, then region, then name; those of no group behind the others.
---@param list table[] machines as the API shows them
---@param commit_of fun(machine: table): string? of fly.commit
---@return dgrun.fly.machine.row[]
function M.all(list, commit_of)
    local rows = json.array {}
    for i, machine in ipairs(list) do
        rows[i] = M.of(machine, commit_of)
    end
    local function key(row)
        return ("%s\0%s\0%s\0%s"):format(row.group or "\255", row.region, row.name or "", row.id)
    end
    table.sort(rows, function(a, b) return key(a) < key(b) end)
    return rows
end

---@class dgrun.fly.machine.event
---@field at string
---@field type string
---@field status string
---@field source? string
---@field exit_code? integer of an exit
---@field oom_killed? boolean
---@field requested_stop? boolean
---@field restart_count? integer

---@param events table[] as the API shows them
---@return dgrun.fly.machine.event[] # newest first
function M.events(events)
    local list = json.array {}
    for i, event in ipairs(events) do
        local exit = event.type == "exit" and machines.last_exit { events = { event } } or {}
        list[i] = {
            at = time.iso((tonumber(event.timestamp) or 0) / 1000), type = tostring(event.type),
            status = tostring(event.status), source = event.source, exit_code = exit.exit_code,
            oom_killed = exit.oom_killed, requested_stop = exit.requested_stop,
            restart_count = exit.restart_count,
        }
    end
    return list
end

---@class dgrun.fly.overview
---@field id string
---@field name string
---@field group string process group
---@field kind "web"|"cron"|"other" web: deploys touch it; cron: it has a schedule and they do not
---@field state string
---@field region string
---@field image string reference, by digest
---@field label? string tag of the image
---@field digest? string
---@field commit? string that it was deployed from
---@field checks {name: string, status: string, output: string}[]
---@field cordoned boolean
---@field host string "ok", "unreachable", "unknown"
---@field lease? {owner: string, description: string, expires: number} unix seconds
---@field crashing boolean
---@field exit? dgrun.fly.exit the newest

-- Machines that a deploy leaves behind for a moment.
local passing = { fly_app_release_command = true, fly_app_console = true,
    fly_app_test_machine_command = true }

local function kind_of(machine)
    return machines.is_managed(machine) and "web" or machines.is_cron(machine) and "cron"
        or "other"
end

---@param machine table as the API shows it
---@param commit_of? fun(machine: table): string? of fly.commit; without it no commit is shown
---@return dgrun.fly.overview
local function overview_of(machine, commit_of)
    local row = M.of(machine, commit_of or function() end)
    local ok, parsed = pcall(image_of.parse, row.image)
    local lease = type(machine.lease) == "table" and machine.lease
    for _, one in ipairs(row.checks) do
        one.output = one.output or ""
    end
    return {
        id = row.id, name = row.name, group = machines.group(machine), kind = kind_of(machine),
        state = row.state, region = row.region, image = row.image, commit = row.commit,
        label = ok and parsed.tag or nil, digest = ok and parsed.digest or nil,
        checks = row.checks, cordoned = row.cordoned, host = row.host or "ok",
        lease = lease and { owner = lease.owner, description = lease.description,
            expires = lease.expires_at } or nil,
        crashing = machines.is_crashing(machine), exit = machines.last_exit(machine),
    }
end

---All of a list that are there to stay.
---@param list table[] as the API shows them
---@param commit_of? fun(machine: table): string?
---@return dgrun.fly.overview[]
function M.overview(list, commit_of)
    local found = {}
    for _, machine in ipairs(list) do
        if not machines.is_gone(machine) and not passing[machines.group(machine)] then
            found[#found + 1] = overview_of(machine, commit_of)
        end
    end
    return found
end

return M
