-- Cron machines as text for people.
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local log = require "host.log"
local style = require "dgrun.ui.style"
local time = require "host.time"

local M = {}

local HEAD = { "NAME", "SCHEDULE", "LAST RUN", "EXIT", "NEXT RUN", "IMAGE", "STATE", "MACHINE" }

local function distance(at, now)
    local seconds = time.parse(at) - now
    return seconds < 0 and format.ago(-seconds) or "in " .. format.age(seconds)
end

local function last_tick(row, now)
    if row.running then
        local since = row.last_tick and format.age(now - time.parse(row.last_tick))
        return since and "running for " .. since or "running"
    end
    return row.last_tick and distance(row.last_tick, now) or "-"
end

local function image(row)
    local ok, parsed = pcall(image_of.parse, row.image or "")
    local text = not row.image and "-" or ok and (parsed.tag or parsed.digest)
        or image_of.abbreviated(row.image)
    return row.image_age and ("%s (%s old)"):format(text, format.age(row.image_age)) or text
end

local function cells(row, now)
    if row.kind == "missing" then
        return { row.name, row.schedule or "-", "-", "-", "-", "-",
            row.optional and "absent (optional)" or "missing", "-" }
    end
    return {
        row.name, row.schedule or "-", last_tick(row, now), row.exit_code and
            ("%d"):format(row.exit_code) or "-",
        row.next_tick and "~ " .. distance(row.next_tick, now) or "-", image(row),
        row.state .. (row.kind ~= "declared" and ", " .. row.kind or ""), row.machine,
    }
end

---The lines for one target.
local function of_target(target, now)
    local lines = { style.text("out", "bold", target.name)
        .. (target.name ~= target.app and "  " .. log.clean(target.app) or "") }
    if target.error then
        lines[2] = "  " .. style.text("out", "red", "unknown: " .. target.error)
        return lines
    elseif #target.crons == 0 then
        lines[2] = "  no cron machines"
        return lines
    end
    local rows = { HEAD }
    for i, row in ipairs(target.crons) do
        rows[i + 1] = cells(row, now)
    end
    for i, line in ipairs(format.columns(rows, "  ")) do
        lines[#lines + 1] = style.text("out", i == 1 and "dim" or nil, line)
        for _, problem in ipairs(i > 1 and target.crons[i - 1].problems or {}) do
            lines[#lines + 1] = style.text("out", "yellow", "    ! " .. problem.text)
        end
    end
    return lines
end

---@param targets dgrun.cron.target[]
---@param now number seconds since 1970, by Fly's clock
---@return string
function M.text(targets, now)
    local blocks = {}
    for i, target in ipairs(targets) do
        blocks[i] = table.concat(of_target(target, now), "\n")
    end
    return table.concat(blocks, "\n\n") .. "\n"
end

---The result for each machine.
---@param results {name: string, id: string, skipped?: boolean}[]
---@return string
function M.results(results)
    local lines = {}
    for i, result in ipairs(results) do
        lines[i] = log.clean(("%s  %s  %s"):format(result.name, result.id,
            result.skipped and "unchanged: its job is running"
                or result.changed and "updated and started" or "already has this image"))
    end
    return table.concat(lines, "\n") .. "\n"
end

---@param result {id: string, skipped?: boolean}
---@return string
function M.removed(result)
    return result.skipped and result.id .. " is unchanged: its job is running\n"
        or result.id .. " was removed\n"
end

return M
