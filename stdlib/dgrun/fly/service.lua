-- Services and checks of fly.toml as a machine has them: docs/fly/fly-toml.md, sections 2.7 to 2.9
-- and 5.3 to 5.5. The file was checked before.
local json = require "dgrun.core.json"
local units = require "dgrun.fly.units"

local M = {}

local NANOSECOND, MILLISECOND = 1e-9, 1e-3

---@param value? string|number
---@param unit number seconds that a bare number counts in
---@return string? # as Go prints it
function M.duration(value, unit)
    if value == nil then
        return nil
    end
    return units.duration(type(value) == "number" and value * unit or units.seconds(value))
end

---A table of names, or a list of {name, value}.
local function headers_of(headers)
    if not headers then
        return nil
    end
    local result = {}
    for name, value in pairs(headers) do
        if type(value) == "table" and value.name then
            name, value = value.name, value.value
        end
        local values = type(value) == "table" and value or { tostring(value) }
        result[#result + 1] = { name = name, values = values }
    end
    table.sort(result, function(a, b) return a.name < b.name end)
    return result
end

local function check_of(entry, kind, unit)
    return {
        type = kind, interval = M.duration(entry.interval, unit),
        timeout = M.duration(entry.timeout, unit),
        grace_period = M.duration(entry.grace_period, unit), method = entry.method,
        path = entry.path, protocol = entry.protocol, tls_skip_verify = entry.tls_skip_verify,
        tls_server_name = entry.tls_server_name, headers = headers_of(entry.headers),
    }
end

-- "suspend" stands for itself; the others are sent as what the API answers.
local autostops = { off = false, stop = true, suspend = "suspend", [true] = true, [false] = false }

local function autostop_of(value)
    if value == nil then
        return nil
    end
    return autostops[value]
end

local function common(entry)
    return {
        internal_port = entry.internal_port, autostop = autostop_of(entry.auto_stop_machines),
        autostart = entry.auto_start_machines, min_machines_running = entry.min_machines_running,
        concurrency = entry.concurrency, force_instance_key = json.null,
    }
end

local function http_service(entry)
    local service = common(entry)
    service.protocol = "tcp"
    service.ports = {
        { port = 80, handlers = { "http" }, force_https = entry.force_https,
            http_options = entry.http_options },
        { port = 443, handlers = { "http", "tls" }, tls_options = entry.tls_options,
            http_options = entry.http_options },
    }
    local checks = {}
    for i, one in ipairs(entry.checks or {}) do
        checks[i] = check_of(one, "http", NANOSECOND)
    end
    service.checks = #checks > 0 and checks or nil
    return service
end

local function plain_service(entry)
    local service = common(entry)
    service.protocol = entry.protocol or "tcp"
    service.ports = entry.ports
    local checks = {}
    for _, kind in ipairs { "tcp", "http" } do
        for _, one in ipairs(entry[kind .. "_checks"] or {}) do
            checks[#checks + 1] = check_of(one, kind, MILLISECOND)
        end
    end
    service.checks = #checks > 0 and checks or nil
    return service
end

---@param config dgrun.fly.config
---@param mine fun(entry: table): boolean does it belong to the group?
---@return table[]? # http_service first, then [[services]]
function M.all(config, mine)
    local services = {}
    if config.http_service and mine(config.http_service) then
        services[1] = http_service(config.http_service)
    end
    for _, entry in ipairs(config.services) do
        if mine(entry) then
            services[#services + 1] = plain_service(entry)
        end
    end
    return #services > 0 and services or nil
end

---@return table<string, table>?
function M.top_level_checks(config, mine)
    local checks
    local fallback = config.http_service and mine(config.http_service)
        and config.http_service.internal_port
    for name, entry in pairs(config.checks) do
        if mine(entry) then
            local one = check_of(entry, entry.type, MILLISECOND)
            one.port = entry.port or fallback or nil
            one.method = one.method and one.method:upper()
            checks = checks or {}
            checks[name] = one
        end
    end
    return checks
end

return M
