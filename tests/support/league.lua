-- The second sample application as a project in a temporary folder; run as support.sample runs it.
local sample = require "support.sample"

local M = {}

---@param opts? {database?: string} database: a URL with {name} in it, instead of SQLite
---@return support.project
function M.new(opts)
    return sample.new {
        script = "make-league.sh", apps = { "league-app", "league-app-prod" },
        -- The Python that has Debian's packages.
        env = { PATH = "/usr/bin:/bin", LEAGUE_DATABASE = opts and opts.database },
    }
end

return M
