-- Review apps as text for people.
local format = require "dgrun.core.format"
local log = require "host.log"

local M = {}

---@param apps dgrun.review.app[]
---@return string
function M.text(apps)
    if #apps == 0 then
        return "No review apps.\n"
    end
    local rows = { { "APP", "STATE", "COMMIT", "DEPLOYED", "URL" } }
    for i, app in ipairs(apps) do
        rows[i + 1] = { app.app, app.state, app.commit and app.commit:sub(1, 12) or "-",
            app.age and format.ago(app.age) or "never", app.state == "deployed" and app.url or "-" }
    end
    return log.clean(table.concat(format.columns(rows), "\n") .. "\n")
end

return M
