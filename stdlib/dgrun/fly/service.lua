-- Services and checks of fly.toml as a machine has them: fly-toml.md sections 2.7 to 2.9 and 5.3
-- to 5.5.
local err = require "dgrun.err"
local units = require "dgrun.fly.units"

local M = {}

local NANOSECOND, MILLISECOND = 1e-9, 1e-3

---@param unit number seconds that a bare number counts in
---@return string? # as Go prints it
function M.duration(path, name, value, unit)
    if value == nil then
        return nil
    end
    local seconds = type(value) == "number" and value * unit
        or (type(value) == "string" and units.seconds(value))
    if not seconds then
        err.raise { code = "fly.config", op = "fly.config",
            msg = ("%s: %s: '%s' is not a duration"):format(path, name, tostring(value)),
            hint = "Write a number with a unit: 10s, 500ms, 1m30s." }
    end
    return units.duration(seconds)
end

local function headers_of(headers)
    if not headers then
        return nil
    end
    local result = {}
    for name, value in pairs(headers) do
        if type(value) == "table" and value.name then
            name, value = value.name, value.value
        end
        result[#result + 1] = { name = name, values = { value } }
    end
    table.sort(result, function(a, b) return a.name < b.name end)
    return result
end

local function check_of(config, where, entry, kind, unit)
    local function time(name)
        return M.duration(config.path, where .. "." .. name, entry[name], unit)
    end
    return {
        type = kind, interval = time "interval", timeout = time "timeout",
        grace_period = time "grace_period", method = entry.method, path = entry.path,
        protocol = entry.protocol, tls_skip_verify = entry.tls_skip_verify,
        tls_server_name = entry.tls_server_name, headers = headers_of(entry.headers),
    }
end

local autostops = { off = false, stop = true, suspend = "suspend", [true] = true, [false] = false }

local function autostop_of(config, value)
    if value == nil then
        return nil
    end
    local result = autostops[value]
    if result == nil then
        err.raise { code = "fly.config", op = "fly.config",
            msg = ("%s: auto_stop_machines '%s' is not one of off, stop, suspend"):format(
                config.path, tostring(value)) }
    end
    return result
end

local function concurrency_of(value)
    if type(value) == "string" then
        local soft, hard = value:match("^(%d+),(%d+)$")
        return { type = "requests", soft_limit = tonumber(soft), hard_limit = tonumber(hard) }
    end
    return value
end

local function common(config, entry)
    return {
        internal_port = tonumber(entry.internal_port),
        autostop = autostop_of(config, entry.auto_stop_machines),
        autostart = entry.auto_start_machines, min_machines_running = entry.min_machines_running,
        concurrency = concurrency_of(entry.concurrency),
    }
end

local function list_of(value)
    return value == nil and {} or (#value > 0 and value or { value })
end

local function http_service(config, entry)
    local service = common(config, entry)
    service.protocol = "tcp"
    service.ports = {
        { port = 80, handlers = { "http" }, force_https = entry.force_https,
            http_options = entry.http_options },
        { port = 443, handlers = { "http", "tls" }, tls_options = entry.tls_options,
            http_options = entry.http_options },
    }
    local checks = {}
    for i, one in ipairs(entry.checks or {}) do
        checks[i] = check_of(config, "http_service.checks", one, "http", NANOSECOND)
    end
    service.checks = #checks > 0 and checks or nil
    return service
end

local function plain_service(config, entry)
    local service = common(config, entry)
    service.protocol = entry.protocol or "tcp"
    service.ports = {}
    for i, port in ipairs(list_of(entry.ports)) do
        service.ports[i] = port
        port.port = tonumber(port.port)
    end
    local checks = {}
    for _, kind in ipairs { "tcp", "http" } do
        for _, one in ipairs(list_of(entry[kind .. "_checks"])) do
            checks[#checks + 1] = check_of(config, "services." .. kind .. "_checks", one, kind,
                MILLISECOND)
        end
    end
    service.checks = #checks > 0 and checks or nil
    return service
end

---@param mine fun(entry: table): boolean does it belong to the group?
---@return table[]? # http_service first, then [[services]]
function M.all(config, mine)
    local services = {}
    if config.http_service and mine(config.http_service) then
        services[1] = http_service(config, config.http_service)
    end
    for _, entry in ipairs(config.services) do
        if mine(entry) then
            services[#services + 1] = plain_service(config, entry)
        end
    end
    return #services > 0 and services or nil
end

---@return table<string, table>?
function M.top_level_checks(config, mine)
    local checks
    for name, entry in pairs(config.checks) do
        name = entry.name or name
        if mine(entry) then
            if entry.type ~= "http" and entry.type ~= "tcp" then
                err.raise { code = "fly.config", op = "fly.config",
                    msg = ("%s: checks.%s: type must be http or tcp"):format(config.path, name) }
            end
            local one = check_of(config, "checks." .. name, entry, entry.type, MILLISECOND)
            one.port = entry.port or (config.http_service and config.http_service.internal_port)
            one.method = one.method and one.method:upper()
            checks = checks or {}
            checks[name] = one
        end
    end
    return checks
end

return M
