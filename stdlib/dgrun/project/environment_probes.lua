-- `probes:` of an environment in environments.yaml: what its site has to answer.
local format = require "dgrun.core.format"
local http_status = require "dgrun.core.http_status"

local M = {}

---@class dgrun.environment.probe: dgrun.probe.http as dg.probe.http takes it
---@field url string that of the environment, and the path
---@field expect? integer|string|(integer|string)[] the status: 200, "2xx", "200-204", or a list
---@field body? string a plain substring of the body
---@field within? number seconds for all tries; without it one is made
---@field timeout? number seconds of one try, 5

local known = { path = true, expect = true, body = true, within = true, timeout = true }

local function below(keys, ...)
    local deeper = { unpack(keys) }
    for _, key in ipairs { ... } do
        deeper[#deeper + 1] = key
    end
    return deeper
end

local function seconds(reader, value, keys)
    local found = value ~= nil and format.seconds(value) or nil
    if value ~= nil and not found then
        reader:refuse(keys, "a probe's time must be a duration such as 5s")
    end
    return found
end

local function probe(reader, value, keys)
    reader:map(value, keys, known, { "path" })
    local path = reader:string(value.path, below(keys, "path"))
    if path:sub(1, 1) ~= "/" then
        reader:refuse(below(keys, "path"), "a probe's path must begin with /",
            "The path is appended to the environment's url.")
    end
    local expect = value.expect
    if expect ~= nil then
        local ranges, fault = http_status.ranges(expect)
        if not ranges then
            reader:refuse(below(keys, "expect"), "probe.http: " .. fault)
        end
    end
    return { path = path, expect = expect, body = reader:string(value.body, below(keys, "body")),
        within = seconds(reader, value.within, below(keys, "within")),
        timeout = seconds(reader, value.timeout, below(keys, "timeout")) }
end

---@param reader dgrun.environment_reader
---@param entry table of the environment
---@param keys (string|integer)[] that lead to it
---@return table[] by path
function M.read(reader, entry, keys)
    if entry.probes == nil then
        return entry.url and { { path = "/health" } } or {}
    elseif not entry.url then
        reader:refuse(below(keys, "probes"), "probes need the environment's url")
    end
    local list = {}
    for i, value in ipairs(reader:list(entry.probes, below(keys, "probes"))) do
        list[i] = probe(reader, value, below(keys, "probes", i))
    end
    return list
end

---The probes of an environment, below its url.
---@param entry {url?: string, probes: table[]}
---@return dgrun.environment.probe[]
function M.of(entry)
    local list = {}
    for i, one in ipairs(entry.probes) do
        list[i] = { url = entry.url:gsub("/+$", "") .. one.path, expect = one.expect,
            body = one.body, within = one.within, timeout = one.timeout }
    end
    return list
end

return M
