-- What Fly knows about an app: the image, the newest release, the machines, the cron machines,
-- the secrets.
local cron = require "dgrun.cron"
local environment = require "dgrun.project.environment"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local machine_view = require "dgrun.fly.machine_view"
local shared = require "dgrun.status.shared"
local time = require "host.time"

local M = {}

---@class dgrun.status.image---@class dgrun.status.image
---@field image string reference, by digest
---@field label? string
---@field digest? string
---@field machines integer how many machines run it

local function images_of(list)
    local found, by_image = {}, {}
    for _, machine in ipairs(list) do
        local key = machine.digest or machine.image
        if machine.kind == "web" and not by_image[key] then
            by_image[key] = { image = machine.image, label = machine.label,
                digest = machine.digest, machines = 0 }
            found[#found + 1] = by_image[key]
        end
        if machine.kind == "web" then
            by_image[key].machines = by_image[key].machines + 1
        end
    end
    table.sort(found, function(a, b)
        return a.machines > b.machines or a.machines == b.machines and a.image < b.image
    end)
    return found
end

---The running image, by digest.
---@param target dgrun.status.target
---@return dgrun.status.image? # the image of most machines
---@return string[]? problems
function M.image(target)
    local found = images_of(machine_view.overview(target.machines()))
    local problems = {}
    if #found > 1 then
        local parts = {}
        for i, one in ipairs(found) do
            parts[i] = ("%d %s %s"):format(one.machines, one.machines == 1 and "runs" or "run",
                one.label or one.image)
        end
        problems[1] = "its machines differ: " .. format.list(parts)
    end
    return found[1], problems
end

-- Seconds after which a release that is still in progress counts as abandoned.
local ABANDONED_SECONDS = 3600

---@class dgrun.status.release
---@field version integer
---@field status string
---@field user? string
---@field time? number unix seconds
---@field complete? integer version of the newest complete release

local good = { complete = true, succeeded = true }

---The newest release on Fly.
---@param target dgrun.status.target
---@return dgrun.status.release? # nil before the first one
---@return string[]? problems
function M.release(target)
    local list = target.releases()
    local newest = list[1]
    if not newest then
        return nil
    end
    local complete
    for _, one in ipairs(list) do
        complete = complete or good[one.status] and one.version or nil
    end
    local facts = {
        version = newest.version, status = newest.status, complete = complete,
        time = time.parse(newest.created_at or ""),
        user = type(newest.user) == "string" and newest.user or nil,
    }
    local problems, age = {}, facts.time and target.now - facts.time or 0
    if newest.in_progress and age > ABANDONED_SECONDS then
        problems[1] = ("v%d has been %s for %s: its deploy was abandoned"):format(newest.version,
            newest.status, format.age(age))
    elseif not newest.in_progress and not good[newest.status] then
        problems[1] = ("v%d is %s%s"):format(newest.version, newest.status,
            complete and ("; the last complete release is v%d"):format(complete) or "")
    end
    return facts, problems
end

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

---The machines that deploys manage, by group, state, and health.
---@param target dgrun.status.target
---@return dgrun.status.machines
---@return string[] problems
function M.machines(target)
    local array = json.array
    local facts = { groups = array {}, leases = array {}, cordoned = 0, others = 0 }
    local by_name, problems = {}, {}
    for _, machine in ipairs(machine_view.overview(target.machines())) do
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

---@class dgrun.status.cron: dgrun.cron.row
---@field unknown? string why the machine could not be compared with its declaration

local function first_image(list)
    for _, machine in ipairs(list) do
        if machine.kind == "web" then
            return machine.image
        end
    end
end

---Fields whose drift is known without the files of the commit, and without the app's secrets.
local function needs_no_files(field) return field == "image" or field == "secrets" end
local function needs_no_secrets(field) return field ~= "secrets" end

---Removes drift that could not really be determined.
local function leave_out(rows, is_known, reason)
    for _, row in ipairs(rows) do
        local kept = json.array {}
        for _, problem in ipairs(row.problems) do
            kept[#kept + 1] = (problem.kind ~= "drift" or is_known(problem.field)) and problem
                or nil
        end
        if row.kind == "declared" then
            row.problems, row.unknown = kept, row.unknown or reason
        end
    end
end

---The cron machines, compared with their declarations at the deployed commit.
---@param target dgrun.status.target
---@return dgrun.status.cron[]? # nil where there are none
---@return string[]? problems
function M.crons(target)
    local machines = target.machines()
    local list = machine_view.overview(machines)
    local declared = target.environment and target.environment.crons or {}
    local image = first_image(list)
    if not image then
        declared = {} -- no image has been deployed yet
    end
    local secrets, releases = shared.attempt(target.secrets), shared.attempt(target.releases)
    local files, e
    if #declared > 0 then
        files, e = shared.attempt(target.files)
    end
    local rows = cron.list { app = target.app, crons = declared,
        dir = files or target.repository.dir, image = image or "none",
        known = { machines = machines, secrets = secrets or {}, releases = releases or {} } }
    if not files then
        leave_out(rows, needs_no_files, e and e.msg
            or "the app's machines do not report the deployed commit")
    end
    if not secrets then
        leave_out(rows, needs_no_secrets, "the app's secrets are unknown")
    end
    local problems = {}
    for _, row in ipairs(rows) do
        for _, problem in ipairs(target.environment and row.problems or {}) do
            problems[#problems + 1] = ("%s: %s"):format(row.name, problem.text)
        end
    end
    return #rows > 0 and json.array(rows) or nil, problems
end

---@class dgrun.status.secrets
---@field set string[] names
---@field missing string[] required secrets and literals that the app lacks
---@field undeclared string[] names on the app that are not declared

local function contract(target)
    local declared = environment.entry(target.environment).secrets
    local wanted, known = {}, {}
    for name in pairs(declared.literal) do
        -- A literal may also be listed as required.
        wanted[#wanted + 1] = not known[name] and name or nil
        known[name] = true
    end
    for _, name in ipairs(declared.required) do
        wanted[#wanted + 1] = not known[name] and name or nil
        known[name] = true
    end
    for _, name in ipairs(declared.optional) do
        known[name] = true
    end
    table.sort(wanted)
    return wanted, known
end

---The app's secrets compared with the secrets that its environment declares, by name.
---@param target dgrun.status.target
---@return dgrun.status.secrets
---@return string[] problems
function M.secrets(target)
    local array = json.array
    local facts, there = { set = array {}, missing = array {}, undeclared = array {} }, {}
    for i, secret in ipairs(target.secrets()) do
        facts.set[i], there[secret.name] = secret.name, true
    end
    if not target.environment then
        return facts, {}
    end
    local wanted, known = contract(target)
    for _, name in ipairs(wanted) do
        facts.missing[#facts.missing + 1] = not there[name] and name or nil
    end
    for _, name in ipairs(facts.set) do
        facts.undeclared[#facts.undeclared + 1] = not known[name] and name or nil
    end
    local missing = facts.missing
    return facts, { #missing > 0 and ("%s %s not set"):format(format.list(missing),
        #missing == 1 and "is" or "are") or nil }
end

return M
