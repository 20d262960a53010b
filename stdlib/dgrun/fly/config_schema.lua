-- The keys of fly.toml and their types, after the legacy forms are gone: docs/fly/fly-toml.md,
-- section 2; and the older forms that flyctl still reads, brought to the present one by `patch`:
-- section 3, in its order. A value of a type that no form has is left for the check to name.
--
-- A type is a name; {list = type}; {map = type}; {fields = {…}}; {duration = seconds that a bare
-- number counts in}; {one_of = {…}}.
local json = require "dgrun.core.json"
local tables = require "dgrun.core.table"

local M = {}

local NANOSECOND, MILLISECOND, SECOND = 1e-9, 1e-3, 1

local strings = { list = "string" }
local nanoseconds = { duration = NANOSECOND }
local milliseconds = { duration = MILLISECOND }

local function one_of(...)
    return { one_of = { ... } }
end

local autostop = one_of("off", "stop", "suspend", true, false)

local concurrency = { fields = {
    type = one_of("connections", "requests"), hard_limit = "integer", soft_limit = "integer",
} }

local tls_options = { fields = {
    alpn = strings, versions = strings, default_self_signed = "boolean",
} }

local http_options = { fields = {
    compress = "boolean", h2_backend = "boolean", idle_timeout = "integer",
    headers_read_timeout = "integer",
    response = { fields = { headers = { map = "any" }, pristine = "boolean" } },
    replay_cache = { list = { fields = {
        path_prefix = "string", ttl_seconds = "integer", type = one_of("cookie", "header"),
        name = "string", allow_bypass = "boolean",
    } } },
} }

local machine_checks = { list = { fields = {
    command = strings, image = "string", entrypoint = strings, kill_signal = "string",
    kill_timeout = nanoseconds,
} } }

local function check_fields(duration, headers, more)
    local fields = {
        interval = duration, timeout = duration, grace_period = duration, method = "string",
        path = "string", protocol = "string", tls_skip_verify = "boolean",
        tls_server_name = "string", headers = headers,
    }
    for name, kind in pairs(more or {}) do
        fields[name] = kind
    end
    return { fields = fields }
end

local vm = {
    size = "string", memory = "size", cpus = "integer", cpu_kind = "string",
    memory_mb = "integer", max_memory_mb = "integer", gpus = "integer", gpu_kind = "string",
    host_dedication_id = "string", persist_rootfs = "string", kernel_args = strings,
    processes = strings,
}

local sections = {
    build = { fields = {
        image = "string", dockerfile = "string", ignorefile = "string",
        ["build-target"] = "string", args = { map = "scalar" }, builder = "string",
        buildpacks = strings, builtin = "string", settings = { map = "any" },
        compose = { fields = { file = "string" } }, compression = one_of("gzip", "zstd"),
        compression_level = "integer",
    } },
    deploy = { fields = {
        strategy = one_of("rolling", "canary", "immediate", "bluegreen"),
        max_unavailable = "number", wait_timeout = nanoseconds, release_command = "string",
        release_command_timeout = nanoseconds, release_command_vm = { fields = vm },
        seed_command = "string",
    } },
    experimental = { fields = {
        cmd = strings, entrypoint = strings, exec = strings, auto_rollback = "boolean",
        enable_consul = "boolean", enable_etcd = "boolean", lazy_load_images = "boolean",
        attached = { map = "any" }, machine_config = "string",
    } },
    http_service = { fields = {
        internal_port = "integer", force_https = "boolean", auto_stop_machines = autostop,
        auto_start_machines = "boolean", min_machines_running = "integer", processes = strings,
        concurrency = concurrency, tls_options = tls_options, http_options = http_options,
        checks = { list = check_fields(nanoseconds, { map = "string" }) },
        machine_checks = machine_checks,
    } },
    services = { list = { fields = {
        protocol = one_of("tcp", "udp"), internal_port = "integer", auto_stop_machines = autostop,
        auto_start_machines = "boolean", min_machines_running = "integer",
        ports = { list = { fields = {
            port = "integer", start_port = "integer", end_port = "integer", handlers = strings,
            force_https = "boolean", tls_options = tls_options, http_options = http_options,
            proxy_proto_options = { fields = { version = "string" } },
        } } },
        concurrency = concurrency,
        tcp_checks = { list = { fields = { interval = milliseconds, timeout = milliseconds,
            grace_period = milliseconds } } },
        http_checks = { list = check_fields(milliseconds, "headers") },
        machine_checks = machine_checks, processes = strings,
    } } },
    checks = { map = check_fields(milliseconds, "headers",
        { type = "string", port = "integer", processes = strings }) },
    mounts = { list = { fields = {
        source = "string", destination = "string", initial_size = "size",
        snapshot_retention = "integer", scheduled_snapshots = "boolean",
        auto_extend_size_threshold = "integer", auto_extend_size_increment = "string",
        auto_extend_size_limit = "string", processes = strings,
    } } },
    vm = { list = { fields = vm } },
    files = { list = { fields = {
        guest_path = "string", local_path = "string", secret_name = "string",
        raw_value = "string", processes = strings,
    } } },
    statics = { list = { fields = {
        guest_path = "string", url_prefix = "string", tigris_bucket = "string",
        index_document = "string",
    } } },
    metrics = { list = { fields = {
        port = "integer", path = "string", https = "boolean", processes = strings,
    } } },
    restart = { list = { fields = {
        policy = "string", retries = "integer", processes = strings,
    } } },
    machine_checks = machine_checks,
}

local top = {
    app = "string", primary_region = "string", kill_signal = "string",
    kill_timeout = { duration = SECOND }, swap_size_mb = "integer", console_command = "string",
    host_dedication_id = "string", machine_config = "string", container = "string",
    env = { map = "scalar" }, processes = { map = "string" },
}
for name, shape in pairs(sections) do
    top[name] = shape
end

---The shape of the whole file.
M.shape = { fields = top }

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
    for _, entry in ipairs(list) do
        if type(entry) ~= "table" then
            return list
        end
    end
    return tables.merged(unpack(list))
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
