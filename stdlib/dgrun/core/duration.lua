-- Durations as Go reads and prints them, in fly.toml and in Fly's APIs: "1m30s".
local ffi = require "ffi"

local M = {}

-- Go keeps whole nanoseconds in 64 bits.
local NANOSECONDS = { h = 3600000000000ULL, m = 60000000000ULL, s = 1000000000ULL,
    ms = 1000000ULL, us = 1000ULL, ["µs"] = 1000ULL, ["μs"] = 1000ULL, ns = 1ULL }
local LIMIT = 2ULL ^ 63

---@param number number whole
---@return ffi.cdata* int64_t
function M.integer(number)
    return ffi.cast("int64_t", number)
end

---The whole number that digits write; nil when it does not fit.
local function whole(digits)
    local value = 0ULL
    for digit in digits:gmatch "%d" do
        if value > LIMIT / 10 then
            return nil
        end
        value = value * 10 + tonumber(digit)
    end
    return value <= LIMIT and value or nil
end

---One term of a duration: "1.5s".
local function term(digits, fraction, unit)
    local size, value = NANOSECONDS[unit], whole(digits)
    if not size or not value or value > LIMIT / size or digits .. fraction == "" then
        return nil
    end
    return value * size + (tonumber("0." .. fraction .. "0") * tonumber(size))
end

---@param text string "1m30s", "-500ms", as Go's time.ParseDuration reads it
---@return ffi.cdata*? nanoseconds as int64_t; nil when it is not a duration
function M.nanoseconds(text)
    local sign, rest = text:match "^([+-]?)(.+)$"
    if rest == "0" then
        return 0LL
    end
    local total = 0ULL
    while rest and rest ~= "" do
        local digits, fraction, unit, after = rest:match "^(%d*)%.?(%d*)([^%d.]+)(.*)$"
        local value = unit and term(digits, fraction, unit)
        total = value and total + value
        if not total or total > LIMIT then
            return nil
        end
        rest = after
    end
    if not rest or (sign ~= "-" and total >= LIMIT) then
        return nil
    end
    local signed = ffi.cast("int64_t", total)
    return sign == "-" and -signed or signed
end

---@param text string "1m30s", "500ms"
---@return number? seconds nil when it is not a duration
function M.seconds(text)
    local value = M.nanoseconds(text)
    return value and tonumber(value) / 1e9
end

---Without its trailing zeros.
local function decimal(value, unit)
    local fraction = ("%0" .. #tostring(tonumber(unit)) - 1 .. "d"):format(tonumber(value % unit))
    return (("%d.%s"):format(tonumber(value / unit), fraction):gsub("0+$", ""):gsub("%.$", ""))
end

---The form that Go prints: "10s", "1m0s", "1h0m0s", "500ms", "3µs".
---@param nanoseconds ffi.cdata* int64_t
---@return string
function M.text(nanoseconds)
    if nanoseconds == 0 then
        return "0s"
    elseif nanoseconds < 0 then
        return "-" .. M.text(-nanoseconds)
    elseif nanoseconds < 1000 then
        return ("%dns"):format(tonumber(nanoseconds))
    elseif nanoseconds < 1000000 then
        return decimal(nanoseconds, 1000LL) .. "µs"
    elseif nanoseconds < 1000000000 then
        return decimal(nanoseconds, 1000000LL) .. "ms"
    end
    local minutes = tonumber(nanoseconds / 60000000000LL)
    local text = decimal(nanoseconds % 60000000000LL, 1000000000LL) .. "s"
    if minutes >= 60 then
        return ("%dh%dm%s"):format(math.floor(minutes / 60), minutes % 60, text)
    end
    return minutes > 0 and ("%dm%s"):format(minutes, text) or text
end

---As text.
---@param seconds number
---@return string
function M.of_seconds(seconds)
    return M.text(M.integer(seconds * 1e9 + 0.5))
end

return M
