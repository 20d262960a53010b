-- Releases as text for people.
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local style = require "dgrun.ui.style"

local M = {}

local paints = { failed = "red", interrupted = "yellow", running = "yellow", pending = "yellow" }

---@param rows dgrun.fly.release.row[]
---@return string
function M.table(rows)
    if #rows == 0 then
        return "This app has no releases.\n"
    end
    local cells = { { "VERSION", "STATUS", "WHEN (UTC)", "WHO", "IMAGE", "COMMIT",
        "DESCRIPTION" } }
    for i, row in ipairs(rows) do
        cells[i + 1] = { "v" .. row.version, row.status,
            (row.created_at or "?"):sub(1, 16):gsub("T", " "), row.user or "-",
            image_of.short(row.image or "-"),
            row.commit and row.commit:sub(1, 12) or "-", row.description or "" }
    end
    local lines = format.columns(cells)
    for i, line in ipairs(lines) do
        lines[i] = style.text("out", i == 1 and "bold" or paints[rows[i - 1].status], line)
    end
    return table.concat(lines, "\n") .. "\n"
end

return M
