-- How tests went: a record for each, kept as lines of JSON, and the summary for people.
local format = require "dgrun.core.format"
local fs = require "host.fs"
local json = require "dgrun.core.json"

local M = {}

local SLOWEST = 10
local LINE_LIMIT, LINES_LIMIT = 500, 200

---@class support.record
---@field file string
---@field names string[] of the blocks around the test, then its own
---@field status "passed"|"failed"|"skipped"
---@field seconds number of real time
---@field message? string why it failed or was skipped
---@field preset? string of ctest that ran it
---@field suite? string its name in ctest

---Seconds of real time since the last call: the clock of tests may be paused.
---@return fun(): number
function M.stopwatch()
    local function uptime()
        local file = assert(io.open "/proc/uptime")
        local seconds = file:read "*n"
        file:close()
        return seconds
    end
    local last = uptime()
    return function()
        local now = uptime()
        local passed = now - last
        last = now
        return passed
    end
end

---@param path string
---@param record support.record
function M.append(path, record)
    local file = assert(io.open(path, "a"))
    file:write(json.encode(record), "\n")
    file:close()
end

---@param path string
---@return support.record[]
function M.read(path)
    local list = {}
    for line in (fs.read(path, { limit = 2 ^ 26 }) or ""):gmatch "[^\n]+" do
        list[#list + 1] = json.decode(line)
    end
    return list
end

local function name_of(record)
    return table.concat(record.names, " › ")
end

---A text of several lines, at most so long that the next failure can be found.
local function indented(text, indent)
    local lines = {}
    for line in (text .. "\n"):gmatch "(.-)\n" do
        lines[#lines + 1] = #line > LINE_LIMIT and line:sub(1, LINE_LIMIT) .. "…" or line
        if #lines == LINES_LIMIT then
            lines[#lines] = "…"
            break
        end
    end
    return table.concat(lines, "\n" .. indent)
end

---@param record support.record
---@return string # one line, and the reason below it
function M.line(record)
    local text = ("%s %s"):format(record.status == "passed" and "ok" or record.status,
        name_of(record))
    if record.message then
        text = text .. "\n    " .. indented(record.message, "    ")
    end
    return text
end

---The command that runs one test again.
local function again(record)
    local runner = record.file:match "^tests/(%w+)/.*%.lua$"
    if not runner then
        return format.shell_words { "ctest", "--preset", record.preset, "-R",
            "^" .. record.suite:gsub("%.", "\\.") .. "$" }
    end
    local binary = record.preset == "asan" and "build/asan/dgrun" or "build/dev/dgrun"
    local words = format.shell_words { binary, ("tests/run_%s.lua"):format(runner), record.file,
        record.names[#record.names] }
    -- The thinned matrices are those of the preset that has not the complete ones.
    local is_thinned = record.preset == "quick" and runner == "matrix"
    return (is_thinned and "DGRUN_MATRIX=quick " or "") .. words
end

---@param list support.record[]
---@return {passed: integer, failed: integer, skipped: integer}
function M.counts(list)
    local counts = { passed = 0, failed = 0, skipped = 0 }
    for _, record in ipairs(list) do
        counts[record.status] = counts[record.status] + 1
    end
    return counts
end

local function failures(list, lines)
    for _, record in ipairs(list) do
        if record.status == "failed" then
            lines[#lines + 1] = ("FAILED %s"):format(record.file)
            lines[#lines + 1] = "  " .. name_of(record)
            lines[#lines + 1] = "    " .. indented(record.message or "?", "    ")
            lines[#lines + 1] = "  again: " .. again(record)
            lines[#lines + 1] = ""
        end
    end
end

local function skips(list, lines)
    local by_reason, order = {}, {}
    for _, record in ipairs(list) do
        if record.status == "skipped" then
            local reason = record.message or "no reason given"
            if not by_reason[reason] then
                by_reason[reason] = {}
                order[#order + 1] = reason
            end
            table.insert(by_reason[reason], ("%s: %s"):format(record.file, name_of(record)))
        end
    end
    if #order > 0 then
        lines[#lines + 1] = "Skipped:"
    end
    for _, reason in ipairs(order) do
        lines[#lines + 1] = ("  %s"):format(reason)
        for _, name in ipairs(by_reason[reason]) do
            lines[#lines + 1] = "    " .. name
        end
    end
    if #order > 0 then
        lines[#lines + 1] = ""
    end
end

local function slowest(list, lines)
    local sorted = {}
    for i, record in ipairs(list) do
        sorted[i] = record
    end
    table.sort(sorted, function(a, b) return a.seconds > b.seconds end)
    lines[#lines + 1] = "Slowest:"
    for i = 1, math.min(SLOWEST, #sorted) do
        local record = sorted[i]
        lines[#lines + 1] = ("  %6.1fs  %s: %s"):format(record.seconds, record.file,
            name_of(record))
    end
    lines[#lines + 1] = ""
end

---@param list support.record[]
---@return string
function M.summary(list)
    local lines, counts = { "" }, M.counts(list)
    if #list > 1 then
        slowest(list, lines)
    end
    skips(list, lines)
    failures(list, lines)
    lines[#lines + 1] = ("%d passed, %d failed, %d skipped"):format(counts.passed, counts.failed,
        counts.skipped)
    return table.concat(lines, "\n")
end

return M
