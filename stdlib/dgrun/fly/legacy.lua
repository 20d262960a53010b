-- Older forms of fly.toml that flyctl still reads, brought to the present one:
-- docs/fly/fly-toml.md, section 3, in its order. What is of a type that no form has is left for the
-- validation to name.
local json = require "dgrun.core.json"

local M = {}

local function is_list(value)
    return type(value) == "table" and #value > 0
end

local function is_map(value)
    return type(value) == "table" and #value == 0 and next(value) ~= nil
end

---A single table where a list may stand; an empty one is nothing.
local function listed(value)
    if type(value) ~= "table" or is_list(value) then
        return value
    end
    return is_map(value) and json.array { value } or nil
end

local function numeric(value)
    return type(value) == "string" and tonumber(value:match "^%s*(%d+)%s*$") or value
end

---Tables of a list, merged in its order.
local function merged(list)
    local result = {}
    for _, entry in ipairs(list) do
        if type(entry) ~= "table" then
            return list
        end
        for name, value in pairs(entry) do
            result[name] = value
        end
    end
    return result
end

local function patch_env(data)
    if is_list(data.env) then
        data.env = merged(data.env)
    end
end

local function patch_concurrency(service)
    local value = service.concurrency
    local soft, hard = (type(value) == "string" and value or ""):match "^%s*(%d+)%s*,%s*(%d+)%s*$"
    if soft then
        service.concurrency = { type = "requests", soft_limit = tonumber(soft),
            hard_limit = tonumber(hard) }
    end
end

local function patch_services(data)
    data.services = listed(data.services)
    for _, service in ipairs(is_list(data.services) and data.services or {}) do
        if type(service) == "table" then
            patch_concurrency(service)
            service.internal_port = numeric(service.internal_port)
            for _, name in ipairs { "ports", "tcp_checks", "http_checks" } do
                service[name] = listed(service[name])
            end
            for _, port in ipairs(is_list(service.ports) and service.ports or {}) do
                if type(port) == "table" then
                    port.port = numeric(port.port)
                end
            end
        end
    end
end

local function patch_processes(data)
    if not is_list(data.processes) then
        return
    end
    local processes = {}
    for _, entry in ipairs(data.processes) do
        if type(entry) ~= "table" or type(entry.name) ~= "string" then
            return
        end
        processes[entry.name] = entry.command or ""
    end
    data.processes = processes
end

local function patch_experimental(data)
    local experimental = data.experimental
    if type(experimental) ~= "table" then
        return
    end
    for _, name in ipairs { "cmd", "entrypoint", "exec" } do
        if type(experimental[name]) == "string" then
            experimental[name] = json.array { experimental[name] }
        end
    end
    if data.kill_timeout == nil then
        data.kill_timeout = experimental.kill_timeout
    end
    if experimental.metrics_port and data.metrics == nil and data.metric == nil then
        data.metrics = { port = experimental.metrics_port, path = experimental.metrics_path }
    end
    experimental.kill_timeout = nil
    experimental.metrics_port, experimental.metrics_path = nil, nil
end

local function patch_checks(data)
    if not is_list(data.checks) then
        return
    end
    local checks = {}
    for _, entry in ipairs(data.checks) do
        if type(entry) ~= "table" or type(entry.name) ~= "string" then
            return
        end
        checks[entry.name], entry.name = entry, nil
    end
    data.checks = checks
end

---The first of several names that is used, under its present one.
local function renamed(data, present, others)
    for _, name in ipairs(others) do
        if data[name] ~= nil then
            data[present] = data[present] == nil and data[name] or data[present]
            data[name] = nil
        end
    end
    data[present] = listed(data[present])
end

---@param data table as decoded; changed in place
---@return table data
function M.patch(data)
    patch_env(data)
    patch_services(data)
    patch_processes(data)
    patch_experimental(data)
    patch_checks(data)
    renamed(data, "vm", { "compute", "computes" })
    renamed(data, "mounts", { "mount" })
    renamed(data, "metrics", { "metric" })
    local build = data.build
    if type(build) == "table" and build.build_target ~= nil then
        build["build-target"] = build["build-target"] or build.build_target
        build.build_target = nil
    end
    return data
end

return M
