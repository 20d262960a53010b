-- Durations, sizes and command lines as fly.toml writes them: docs/fly/fly-toml.md, sections 1, 4
-- and 6.
local format = require "dgrun.core.format"

local M = {}

local seconds_of = { h = 3600, m = 60, s = 1, ms = 1e-3, us = 1e-6, ["µs"] = 1e-6, ns = 1e-9 }

---@param text string "1m30s", "500ms"
---@return number? seconds nil when it is no duration
function M.seconds(text)
    local total, rest = 0, text
    if rest == "0" then
        return 0
    end
    while rest ~= "" do
        local number, unit, after = rest:match("^(%d*%.?%d+)([hmnuµ]?[sµ]*)(.*)$")
        if not number or not seconds_of[unit] then
            number, unit, after = rest:match("^(%d*%.?%d+)([hm])(.*)$")
        end
        if not number or not seconds_of[unit] then
            return nil
        end
        total = total + tonumber(number) * seconds_of[unit]
        rest = after
    end
    return text ~= "" and total or nil
end

local function plain(number)
    return (("%.9f"):format(number):gsub("0+$", ""):gsub("%.$", ""))
end

---The form that Go prints: "10s", "1m0s", "1h0m0s", "500ms", "3µs".
---@param seconds number
---@return string
function M.duration(seconds)
    if seconds == 0 then
        return "0s"
    elseif seconds < 1e-6 then
        return plain(seconds * 1e9) .. "ns"
    elseif seconds < 1e-3 then
        return plain(seconds * 1e6) .. "µs"
    elseif seconds < 1 then
        return plain(seconds * 1e3) .. "ms"
    end
    local hours = math.floor(seconds / 3600)
    local minutes = math.floor(seconds / 60) % 60
    local text = plain(seconds % 60) .. "s"
    if hours > 0 then
        return ("%dh%dm%s"):format(hours, minutes, text)
    end
    return minutes > 0 and ("%dm%s"):format(minutes, text) or text
end

---@param value string|number "512mb", "1gb", 512
---@return integer? # MB
function M.memory(value)
    local text = tostring(value):lower():gsub("%s", "")
    local number, unit = text:match("^(%d+)([kmg]?i?b?)$")
    local factor = ({ [""] = 1, m = 1, mb = 1, mib = 1, g = 1024, gb = 1024, gib = 1024,
        k = 1 / 1024, kb = 1 / 1024, kib = 1 / 1024 })[unit]
    local megabytes = number and factor and math.floor(tonumber(number) * factor)
    return megabytes and megabytes > 0 and megabytes or nil
end

---The size of a volume, in decimal units.
---@param value string|number "10GB", 10
---@return integer? # GB
function M.gigabytes(value)
    local text = tostring(value):lower():gsub("%s", "")
    local number, unit = text:match("^(%d+)([kmgt]?b?)$")
    local factor = ({ [""] = 1, g = 1, gb = 1, t = 1000, tb = 1000, m = 1e-3, mb = 1e-3,
        k = 1e-6, kb = 1e-6 })[unit]
    return number and factor and math.floor(tonumber(number) * factor) or nil
end

local families = {
    shared = { sizes = { 1, 2, 4, 6, 8 }, memory = 256 },
    performance = { sizes = { 1, 2, 4, 6, 8, 10, 12, 14, 16 }, memory = 2048 },
}

-- Each cpu of a kind may have this much memory, in steps.
local memory_limits = {
    shared = { low = 256, high = 2048, step = 256 },
    performance = { low = 2048, high = 8192, step = 1024 },
}

---What Fly would not accept about a guest; nil when it would.
---@param guest {cpu_kind: string, cpus: integer, memory_mb: integer}
---@return string?
function M.guest_problem(guest)
    local limits = memory_limits[guest.cpu_kind]
    if not limits then
        return ("cpu_kind '%s' is not shared or performance"):format(tostring(guest.cpu_kind))
    end
    local low, high = limits.low * guest.cpus, limits.high * guest.cpus
    if guest.memory_mb < low or guest.memory_mb > high or guest.memory_mb % limits.step ~= 0 then
        return ("memory %d MB: with %s it must be %d to %d MB, in steps of %d"):format(
            guest.memory_mb, format.count(guest.cpus, guest.cpu_kind .. " CPU"), low, high,
            limits.step)
    end
end

---@param name string "shared-cpu-1x"
---@return {cpu_kind: string, cpus: integer, memory_mb: integer}? guest
---@return string? known the names there are, when this one is not
function M.preset(name)
    local known = {}
    for _, kind in ipairs { "shared", "performance" } do
        for _, cpus in ipairs(families[kind].sizes) do
            local preset = (kind == "shared" and "shared-cpu-%dx" or "performance-%dx"):format(cpus)
            if preset == name then
                return { cpu_kind = kind, cpus = cpus, memory_mb = families[kind].memory * cpus }
            end
            known[#known + 1] = preset
        end
    end
    return nil, table.concat(known, ", ")
end

---Splits a command line as google/shlex does: quotes, backslashes, comments, no expansion.
---@param line string
---@return string[]? words
---@return string? problem
function M.words(line)
    local words, word = {}, nil
    local i = 1
    while i <= #line do
        local c = line:sub(i, i)
        if c:find("[ \t\r\n]") then
            words[#words + 1] = word
            word = nil
        elseif c == "#" and not word then
            i = (line:find("\n", i, true) or #line + 1) - 1
        elseif c == "'" then
            local close = line:find("'", i + 1, true)
            if not close then
                return nil, "a quote is not closed"
            end
            word = (word or "") .. line:sub(i + 1, close - 1)
            i = close
        elseif c == '"' then
            word = word or ""
            i = i + 1
            while line:sub(i, i) ~= '"' do
                if i > #line then
                    return nil, "a quote is not closed"
                end
                if line:sub(i, i) == "\\" then
                    i = i + 1
                end
                word = word .. line:sub(i, i)
                i = i + 1
            end
        elseif c == "\\" then
            i = i + 1
            if i > #line then
                return nil, "the text ends with a backslash"
            end
            word = (word or "") .. line:sub(i, i)
        else
            word = (word or "") .. c
        end
        i = i + 1
    end
    words[#words + 1] = word
    return words
end

return M
