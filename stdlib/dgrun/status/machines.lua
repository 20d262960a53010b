-- The machines that deploys manage, by group, state, and health.
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local overview = require "dgrun.fly.overview"

local M = {}

local OUTPUT = 100

---@class dgrun.status.group
---@field name string
---@field machines integer
---@field states table<string, integer>
---@field regions table<string, integer>
---@field healthy integer machines whose checks are all passing
---@field checked integer machines with checks

---@class dgrun.status.machines
---@field groups dgrun.status.group[]
---@field cordoned integer
---@field leases {machine: string, owner: string, expires: number}[] machine leases on Fly
---@field others integer machines without a schedule that deploys do not manage

local function add(counts, name)
    counts[name] = (counts[name] or 0) + 1
end

local function failing(machine)
    for _, one in ipairs(machine.checks) do
        if one.status ~= "passing" then
            return one
        end
    end
end

---What is wrong with a machine, or nil.
local function complaint(machine)
    local check = failing(machine)
    local exit = machine.exit
    if machine.host ~= "ok" then
        return "host is " .. machine.host
    elseif machine.state == "failed" then
        return "failed to boot"
    elseif machine.crashing then
        return ("crashing with exit code %d%s"):format(exit.exit_code,
            exit.oom_killed and ", out of memory" or "")
    elseif machine.state == "started" and check then
        local output = format.cut(check.output:gsub("%s+", " "), OUTPUT)
        return ("check %s is %s%s"):format(check.name, check.status,
            output ~= "" and ": " .. output or "")
    elseif machine.state == "stopped" and exit and not exit.requested_stop
        and exit.exit_code ~= 0 then
        return ("exited with code %d%s"):format(exit.exit_code,
            exit.oom_killed and ", out of memory" or "")
    end
end

local function count(group, machine)
    group.machines = group.machines + 1
    add(group.states, machine.state)
    add(group.regions, machine.region)
    if #machine.checks > 0 then
        group.checked = group.checked + 1
        group.healthy = group.healthy + (failing(machine) and 0 or 1)
    end
end

local function group_of(facts, by_name, name)
    if not by_name[name] then
        by_name[name] = { name = name, machines = 0, states = {}, regions = {}, healthy = 0,
            checked = 0 }
        table.insert(facts.groups, by_name[name])
    end
    return by_name[name]
end

---@param target dgrun.status.target
---@return dgrun.status.machines
---@return string[] problems
function M.ask(target)
    local array = json.array
    local facts = { groups = array {}, leases = array {}, cordoned = 0, others = 0 }
    local by_name, problems = {}, {}
    for _, machine in ipairs(overview.all(target.machines())) do
        if machine.kind == "web" then
            count(group_of(facts, by_name, machine.group), machine)
            local text = complaint(machine)
            problems[#problems + 1] = text and ("%s (%s): %s"):format(machine.id, machine.group,
                text)
        end
        facts.others = facts.others + (machine.kind == "other" and 1 or 0)
        facts.cordoned = facts.cordoned + (machine.cordoned and 1 or 0)
        if machine.lease then
            table.insert(facts.leases, { machine = machine.id, owner = machine.lease.owner,
                expires = machine.lease.expires })
        end
    end
    table.sort(facts.groups, function(a, b) return a.name < b.name end)
    return facts, problems
end

return M
