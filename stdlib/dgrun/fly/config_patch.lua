-- The older forms of fly.toml that flyctl still reads, brought to the present one, and values in
-- the form in which its types keep them: docs/fly/fly-toml.md, section 3, in its order. A value
-- that cannot be read is left for the check of the types to name, or named here.
local duration = require "dgrun.core.duration"
local json = require "dgrun.core.json"
local tables = require "dgrun.core.table"
local units = require "dgrun.fly.units"
local yaml = require "host.yaml"

local extended = tables.extended

local M = {}

---@class dgrun.fly.config_patch.reading
---@field kind "toml"|"json"|"yaml" of the file: what a number is in Go depends on it
---@field findings table of config_check.findings

local function is_scalar(value)
    return getmetatable(value) == yaml.scalar_metatable
end

local function is_table(value)
    return type(value) == "table" and not is_scalar(value) and not json.is_number(value)
end

local function is_list(value)
    return is_table(value) and json.is_array(value)
end

local function is_map(value)
    return is_table(value) and not is_list(value)
end

---"2026-01-02 03:04:05 +0200 +0200", as Go prints the time.
local function time_text(text)
    local day, clock, zone = text:match "^([%d-]+)[Tt ]([%d:.]+)(.*)$"
    if not zone or zone:upper() == "Z" or zone:find "^[+-]00:00$" then
        return day and ("%s %s +0000 UTC"):format(day, clock) or text
    end
    zone = zone:gsub(":", "")
    return ("%s %s %s %s"):format(day, clock, zone, zone)
end

---A whole number beyond 2^53 in YAML, which Go reads as a float where no integer holds it.
local function yaml_integer_text(text)
    local size = text:find "^%-?%d+$" and tonumber(text)
    if not size then
        return nil
    end
    return (size >= 2 ^ 64 or size < -2 ^ 63) and units.float_text(size) or text
end

---A value as Go's %v prints it.
---@param value any
---@param kind "toml"|"json"|"yaml"
---@return string? # nil for a table or a list
local function text_of(value, kind)
    if value == json.null then
        return "<nil>"
    elseif json.is_number(value) then
        return units.float_text(tonumber(tostring(value)))
    elseif is_scalar(value) and value.kind == "integer" and kind == "yaml" then
        return yaml_integer_text(value.text)
    elseif is_scalar(value) then
        return value.number and units.float_text(value.number)
            or (value.kind == "date-time" and time_text(value.text) or value.text)
    elseif type(value) == "number" then
        return kind == "json" and units.float_text(value) or ("%.0f"):format(value)
    end
    return type(value) ~= "table" and tostring(value) or nil
end

local function integral(number)
    return number < 0 and math.ceil(number) or math.floor(number)
end

---What a duration is after the patch of flyctl: Go's form of a text or number; nothing when the
---text is empty, or when flyctl does not read the value, as with a whole number in YAML.
---@param at table that has the value
---@param name string
---@param unit integer nanoseconds that a number counts in
local function patch_duration(at, name, unit, path, reading)
    local value = at[name]
    if value == nil then
        return
    end
    local number = type(value) == "number" and value or is_scalar(value) and value.number
    if value == "" or value == json.null then
        at[name] = nil
    elseif type(value) == "number" and reading.kind == "yaml" then
        reading.findings.warning(extended(path, name), ("flyctl ignores a number here in YAML, and "
            .. "so does dgrun; write '%gs'"):format(value * tonumber(unit) / 1e9))
        at[name] = nil
    elseif number and math.abs(number) < 2 ^ 53 then
        at[name] = duration.text(duration.integer(integral(number)) * unit)
    elseif type(value) == "string" and duration.nanoseconds(value) then
        at[name] = duration.text(duration.nanoseconds(value))
    end
end

---A list of tables out of a list, or one table.
---@return table[]? # nil when it is neither
local function array_of(value)
    if is_map(value) then
        return json.array { value }
    elseif not is_list(value) then
        return nil
    end
    for _, item in ipairs(value) do
        if not is_map(item) then
            return nil
        end
    end
    return value
end

---A value that cannot be read is a problem, and gone for the checks that come later.
local function reject(at, name, path, text, reading)
    reading.findings.problem(extended(path, name), text)
    at[name] = nil
end

local NOT_TABLES = "must be an array of tables ([[…]])"

local function patch_env(data, reading)
    local given = data.env
    if given == nil then
        return
    elseif not array_of(given) then
        return reject(data, "env", {}, is_list(given) and NOT_TABLES or "must be a table", reading)
    end
    local env = {}
    for _, entry in ipairs(array_of(given)) do
        for name, value in pairs(entry) do
            env[name] = text_of(value, reading.kind) or value
            if value == json.null then
                reading.findings.warning({ "env", name }, "is null, which becomes the text <nil>")
            end
        end
    end
    data.env = env
end

local MILLISECOND, SECOND = 1000000LL, 1000000000LL

---Headers as a table of name → text.
local function patch_headers(check, path, reading)
    local given = check.headers
    if given == nil then
        return
    end
    local headers = {}
    if is_map(given) then
        for name, value in pairs(given) do
            headers[name] = text_of(value, reading.kind) or value
        end
    elseif is_list(given) then
        for i, entry in ipairs(given) do
            if not is_map(entry) or type(entry.name) ~= "string" then
                return reject(check, "headers", path, ("entry %d must have a name and a value")
                    :format(i), reading)
            end
            headers[entry.name] = entry.value == nil and ""
                or text_of(entry.value, reading.kind) or entry.value
        end
    else
        return reject(check, "headers", path, "must be a table of headers", reading)
    end
    check.headers = headers
end

local function patch_check(check, path, reading)
    for _, name in ipairs { "interval", "timeout", "grace_period" } do
        patch_duration(check, name, MILLISECOND, path, reading)
    end
    patch_headers(check, path, reading)
end

---The whole number that a text writes, as Go's Atoi reads it.
local function patch_integer(at, name)
    local value = at[name]
    if type(value) == "string" and value:find "^[+-]?%d+$" then
        at[name] = tonumber((value:gsub("^%+", "")))
    end
end

local function patch_concurrency(service)
    local value = service.concurrency
    local soft, hard = (type(value) == "string" and value or ""):match "^([+-]?%d+),([+-]?%d+)$"
    if soft then
        service.concurrency = { type = "requests", soft_limit = tonumber((soft:gsub("^%+", ""))),
            hard_limit = tonumber((hard:gsub("^%+", ""))) }
    end
end

---A list of tables at a name, each of them patched.
local function patch_list(at, name, path, reading, patch)
    if at[name] == nil then
        return
    end
    local list = array_of(at[name])
    if not list then
        return reject(at, name, path, NOT_TABLES, reading)
    end
    for i, item in ipairs(list) do
        patch(item, extended(path, name, i), reading)
    end
    at[name] = list
end

local function patch_service(service, path, reading)
    patch_concurrency(service)
    patch_list(service, "ports", path, reading, function(port) patch_integer(port, "port") end)
    patch_list(service, "tcp_checks", path, reading, patch_check)
    patch_list(service, "http_checks", path, reading, patch_check)
    patch_integer(service, "internal_port")
end

local function patch_services(data, reading)
    patch_list(data, "services", {}, reading, patch_service)
    if data.services == nil then
        return
    end
    local services = json.array {}
    for _, service in ipairs(data.services) do
        services[#services + 1] = next(service) ~= nil and service or nil
    end
    data.services = services
end

local function patch_processes(data, reading)
    if data.processes == nil or is_map(data.processes) then
        return
    end
    local processes, list = {}, array_of(data.processes)
    if not list then
        return reject(data, "processes", {}, "must be a table of commands", reading)
    end
    for _, entry in ipairs(list) do
        if type(entry.name) == "string" then
            processes[entry.name] = entry.command == nil and ""
                or text_of(entry.command, reading.kind) or entry.command
        end
    end
    data.processes = processes
end

local function patch_experimental(data, reading)
    local experimental = data.experimental
    if experimental == nil then
        return
    elseif not is_map(experimental) then
        return reject(data, "experimental", {}, "must be a table", reading)
    end
    for _, name in ipairs { "cmd", "entrypoint", "exec" } do
        if type(experimental[name]) == "string" then
            experimental[name] = json.array { experimental[name] }
        end
    end
    local function moved(name, to)
        local value = experimental[name]
        if value ~= nil then
            reading.findings.warning({ "experimental", name }, ("is an old form of %s"):format(to))
            experimental[name] = nil
        end
        return value
    end
    local timeout = moved("kill_timeout", "kill_timeout at the top")
    if data.kill_timeout == nil then
        data.kill_timeout = timeout
    end
    local metrics = { port = moved("metrics_port", "metrics.port"),
        path = moved("metrics_path", "metrics.path") }
    if data.metrics == nil and next(metrics) ~= nil then
        data.metrics = metrics
    end
end

local function patch_checks(data, reading)
    local given, checks = data.checks, {}
    if given == nil then
        return
    elseif is_list(given) then
        for i, entry in ipairs(given) do
            if not is_map(entry) or type(entry.name) ~= "string" then
                return reject(data, "checks", {}, ("entry %d must be a table with a name")
                    :format(i), reading)
            end
            reading.findings.warning({ "checks", entry.name, "name" },
                ("[[checks]] is an old form; write [checks.%s]"):format(entry.name))
            checks[entry.name], entry.name = entry, nil
        end
    elseif is_map(given) then
        checks = given
    else
        return reject(data, "checks", {}, "must be a table", reading)
    end
    for name, check in pairs(checks) do
        if is_map(check) then
            patch_check(check, { "checks", name }, reading)
        end
    end
    data.checks = checks
end

---The lists of several names, one after the other, under the last name. flyctl puts its list in the
---place of what another letter case of that name says.
local function concatenate(data, names, reading, patch)
    local present = names[#names]
    for _, name in ipairs(tables.keys(data)) do
        if name ~= present and tostring(name):lower() == present then
            reading.findings.warning({ name }, ("is ignored in this letter case; write '%s'")
                :format(present))
            data[name] = nil
        end
    end
    local list
    for _, name in ipairs(names) do
        if data[name] ~= nil then
            patch_list(data, name, {}, reading, patch)
            list = list or json.array {}
            for _, item in ipairs(is_list(data[name]) and data[name] or {}) do
                list[#list + 1] = item
            end
            data[name] = nil
        end
    end
    data[present] = list
end

local function as_text(at, name, reading)
    if at[name] ~= nil then
        at[name] = text_of(at[name], reading.kind) or at[name]
    end
end

local function patch_build(data, reading)
    local build = data.build
    if build ~= nil and not is_map(build) then
        return reject(data, "build", {}, "must be a table", reading)
    elseif build and build.build_target ~= nil then
        build["build-target"], build.build_target = build.build_target, nil
    end
end

---@param data any
---@param path table
---@return any # without typed scalars; what JSON cannot hold is a problem
local function plain(data, path, findings)
    if path[#path] == "<<" and type(data) == "table" then
        findings.problem(path, "is a merge key, which dgrun does not read; write the values out")
        return nil
    end
    if is_scalar(data) then
        local number = data.number
        if number and (number ~= number or math.abs(number) == math.huge) then
            findings.problem(path, "is not a number that JSON can hold")
        elseif not number and data.kind == "integer" then
            return data
        end
        return number or data.text
    elseif type(data) == "table" and not json.is_number(data) then
        for name, item in pairs(data) do
            data[name] = plain(item, extended(path, name), findings)
        end
    end
    return data
end

---A number that no Lua number holds?
function M.is_large(value)
    return is_scalar(value) or json.is_number(value)
end

---@param data table as decoded, with typed scalars; it is not changed
---@param reading dgrun.fly.config_patch.reading
---@return table
function M.patch(data, reading)
    data = tables.copy(data)
    patch_env(data, reading)
    patch_services(data, reading)
    patch_processes(data, reading)
    patch_experimental(data, reading)
    patch_checks(data, reading)
    concatenate(data, { "compute", "computes", "vm" }, reading, function(vm)
        as_text(vm, "memory", reading)
    end)
    concatenate(data, { "mount", "mounts" }, reading, function(mount)
        as_text(mount, "initial_size", reading)
    end)
    concatenate(data, { "metric", "metrics" }, reading, function() end)
    patch_duration(data, "kill_timeout", SECOND, {}, reading)
    patch_build(data, reading)
    return plain(data, {}, reading.findings)
end

return M
