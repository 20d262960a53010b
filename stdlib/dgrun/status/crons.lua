-- The cron machines, compared with their declarations at the deployed commit.
local cron = require "dgrun.cron"
local json = require "dgrun.core.json"
local overview = require "dgrun.fly.overview"
local shared = require "dgrun.status.shared"

local M = {}

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

---@param target dgrun.status.target
---@return dgrun.status.cron[]? # nil where there are none
---@return string[]? problems
function M.ask(target)
    local machines = target.machines()
    local list = overview.all(machines)
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

return M
