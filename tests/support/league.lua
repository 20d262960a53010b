-- The second sample application as a project in a temporary folder; run as support.sample runs it.
local sample = require "support.sample"

local M = {}

---@param opts? {database?: string} database: a URL with {name} in it, instead of SQLite
---@return support.project
function M.new(opts)
    return sample.new {
        script = "make-league.sh", apps = { "league-app", "league-app-prod" },
        -- The Python that has Debian's packages.
        env = { PATH = "/usr/bin:/bin" },
        made_with = opts and opts.database and { LEAGUE_DATABASE = opts.database },
    }
end

local FILE = "scripts/environments.yaml"

---Declares that every cron machine is created; `daily`: what stands before the schedule of daily
---ones, such as "optional: true, ".
---@param project support.project
---@param daily? string
function M.without_conditions(project, daily)
    local text = assert(project:read(FILE))
    text = text:gsub(", gate: &when_ready %b{}", ""):gsub(", gate: %*when_ready", "")
        :gsub(", create: false", ""):gsub("schedule: daily", (daily or "") .. "%0")
    project:write(FILE, text)
end

---Migrates to `head`, of which there must be one.
---@param project support.project
function M.without_target(project)
    project:write(FILE, (assert(project:read(FILE)):gsub(" +migrations: %b{}\n", "")))
end

return M
