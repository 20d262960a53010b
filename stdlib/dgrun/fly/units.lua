-- Sizes, numbers and command lines as fly.toml writes them and Go prints them:
-- docs/fly/fly-toml.md, sections 1, 4 and 6.
local format = require "dgrun.core.format"

local M = {}

---A floating point number as Go's %v prints it: "1.5", "1e+06", "+Inf".
---@param number number
---@return string
function M.float_text(number)
    if number ~= number then
        return "NaN"
    elseif math.abs(number) == math.huge then
        return number > 0 and "+Inf" or "-Inf"
    end
    local text
    for digits = 0, 16 do
        text = ("%%.%de"):format(digits):format(number)
        if tonumber(text) == number then
            break
        end
    end
    local exponent = tonumber(text:match "e(.*)$")
    if exponent < -4 or exponent >= 6 then
        return text
    end
    local places = #(text:match "%.(%d+)e" or "") - exponent
    return ("%%.%df"):format(math.max(places, 0)):format(number)
end

-- Sizes as docker's go-units reads them, which flyctl uses.
local POWERS = { k = 1, m = 2, g = 3, t = 4, p = 5 }

---@param text string "512mb"
---@param base integer 1000 or 1024
---@return number? bytes
local function bytes_of(text, base)
    local number, suffix = text:match "^(.*[%d. ])(.*)$"
    number = number and number:gsub(" $", "")
    local size = number and number:find "^%+?[%d.]" and number:find "^[+%deE.-]+$"
        and tonumber((number:gsub("^%+", "")))
    if not size or size < 0 then
        return nil
    end
    suffix = suffix:lower()
    local power = suffix ~= "" and suffix ~= "b" and POWERS[suffix:match "^(.)i?b?$"] or 0
    if power == 0 and suffix ~= "" and suffix ~= "b" or suffix:find "^.i$" then
        return nil
    end
    return math.floor(size * base ^ power)
end

---@param value string|number text of a whole number counts in the unit itself
local function size_in(value, base, unit)
    local text = type(value) == "number" and M.float_text(value) or value
    local count = text:match "^[+-]?%d+$" and tonumber((text:gsub("^%+", "")))
    if count then
        return count
    end
    local bytes = bytes_of(text, base)
    return bytes and math.floor(bytes / unit)
end

---@param value string|number "512mb", "1gb", 512
---@return integer? # MB; nil when it is not a size, or nothing
function M.memory(value)
    local size = size_in(value, 1024, 1024 ^ 2)
    return size ~= 0 and size or nil
end

---The size of a volume, in decimal units.
---@param value string|number "10GB", 10
---@return integer? # GB
function M.gigabytes(value)
    return size_in(value, 1000, 1000 ^ 3)
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
