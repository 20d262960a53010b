-- Machines as those read them who want to know how an app is: without the API's own shapes.
local image_of = require "dgrun.core.image_ref"
local machines = require "dgrun.fly.machines"
local view = require "dgrun.fly.machine_view"

local M = {}

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
---@param commit_of? fun(machine: table): string? of fly.commit; without it no commit is told
---@return dgrun.fly.overview
function M.of(machine, commit_of)
    local row = view.of(machine, commit_of or function() end)
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
function M.all(list, commit_of)
    local found = {}
    for _, machine in ipairs(list) do
        if not machines.is_gone(machine) and not passing[machines.group(machine)] then
            found[#found + 1] = M.of(machine, commit_of)
        end
    end
    return found
end

return M
