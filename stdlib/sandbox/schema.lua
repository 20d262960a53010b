-- What a machine's configuration may hold: docs/fly/machines-api.md, section 9. An unknown field or
-- another type is refused with the field's path, as the real API refuses it.
local answer = require "sandbox.answer"
local input = require "sandbox.input"
local json = require "dgrun.core.json"

local M = {}

local function list(of) return { list = of } end
local function map(of) return { map = of } end
local duration = { duration = true }
local any = { any = true }

local check = {
    type = "string", port = "integer", interval = duration, timeout = duration,
    grace_period = duration, method = "string", path = "string", protocol = "string",
    tls_skip_verify = "boolean", tls_server_name = "string",
    headers = list { name = "string", values = list "string" }, kind = "string",
}

local port = {
    port = "integer", start_port = "integer", end_port = "integer", handlers = list "string",
    force_https = "boolean",
    tls_options = { alpn = list "string", versions = list "string",
        default_self_signed = "boolean" },
    http_options = {
        compress = "boolean", h2_backend = "boolean", idle_timeout = "integer",
        headers_read_timeout = "integer", response = { headers = any, pristine = "boolean" },
        replay_cache = list(any),
    },
    proxy_proto_options = { version = "string" },
}

local service = {
    protocol = "string", internal_port = "integer", autostop = any, autostart = "boolean",
    min_machines_running = "integer", ports = list(port), checks = list(check),
    concurrency = { type = "string", soft_limit = "integer", hard_limit = "integer" },
    force_instance_key = any, force_instance_description = "string",
}

local config = {
    image = "string", env = map "string",
    init = { exec = list "string", entrypoint = list "string", cmd = list "string",
        tty = "boolean", swap_size_mb = "integer", kernel_args = list "string" },
    guest = { cpu_kind = "string", cpus = "integer", memory_mb = "integer",
        max_memory_mb = "integer", gpus = "integer", gpu_kind = "string",
        host_dedication_id = "string", kernel_args = list "string", persist_rootfs = "string" },
    size = "string", metadata = map "string",
    mounts = list { volume = "string", name = "string", path = "string", encrypted = "boolean",
        size_gb = "integer", extend_threshold_percent = "integer", add_size_gb = "integer",
        size_gb_limit = "integer" },
    services = list(service), checks = map(check),
    metrics = { port = "integer", path = "string", https = "boolean" },
    statics = list { guest_path = "string", url_prefix = "string", tigris_bucket = "string",
        index_document = "string" },
    files = list { guest_path = "string", raw_value = "string", secret_name = "string",
        image_config = "string", mode = "integer" },
    schedule = "string", auto_destroy = "boolean",
    restart = { policy = "string", max_retries = "integer" },
    dns = { skip_registration = "boolean", nameservers = list "string", searches = list "string",
        options = list(any), dns_forward_rules = list(any), hostname = "string",
        hostname_fqdn = "string" },
    processes = list(any), standbys = list "string",
    stop_config = { timeout = duration, signal = "string" },
    containers = list(any), volumes = list(any),
    rootfs = { persist = "string", size_gb = "integer" }, cache_drive = { size_mb = "integer" },
    spot = { max_price_fraction = "number" }, disable_machine_autostart = "boolean",
}

local machine = {
    config = config, name = "string", region = "string", skip_launch = "boolean",
    skip_service_registration = "boolean", skip_secrets = "boolean",
    min_secrets_version = "integer", lease_ttl = "integer", current_version = "string",
}

local function is_duration(value)
    if type(value) == "number" then
        return value >= 0
    end
    return input.duration(value) ~= nil
end

local function refuse(path, text)
    answer.fail(400, ("invalid machine configuration: %s: %s"):format(path, text))
end

---Null stands for an absent field. In a list it stands for nothing.
local function remove_nulls(value, path)
    for name, item in pairs(value) do
        if item == json.null and type(name) == "number" then
            refuse(path, "null in a list")
        elseif item == json.null then
            value[name] = nil
        elseif type(item) == "table" then
            remove_nulls(item, path .. "." .. tostring(name))
        end
    end
end

local function verify(value, shape, path)
    if value == json.null or (type(shape) == "table" and shape.any) then
        return
    elseif type(shape) == "string" then
        local whole = shape ~= "integer" or (type(value) == "number" and value % 1 == 0
            and value >= 0)
        if type(value) ~= (shape == "integer" and "number" or shape) or not whole then
            refuse(path, ("must be of type %s, not %s"):format(shape, tostring(value)))
        end
    elseif shape.duration then
        if not is_duration(value) then
            refuse(path, "is not a duration")
        end
    elseif type(value) ~= "table" then
        refuse(path, "must be an object or a list, not a " .. type(value))
    elseif shape.list then
        if not json.is_array(value) then
            refuse(path, "must be a list, not an object")
        end
        for i, item in ipairs(value) do
            verify(item, shape.list, ("%s[%d]"):format(path, i - 1))
        end
    else
        if json.is_array(value) then
            refuse(path, "must be an object, not a list")
        end
        for name, item in pairs(value) do
            local inner = shape.map or shape[name]
            if not inner then
                refuse(path, ("unknown field %q"):format(tostring(name)))
            end
            verify(item, inner, path .. "." .. tostring(name))
        end
    end
end

local schedules = { hourly = true, daily = true, weekly = true, monthly = true }
local policies = { no = true, ["on-failure"] = true, always = true, ["spot-price"] = true }

---Memory limits: docs/fly/fly-toml.md, section 4.
local function verify_guest(guest)
    local per_cpu = { shared = { 256, 2048, 256 }, performance = { 2048, 8192, 1024 } }
    local limits = per_cpu[guest.cpu_kind or "shared"]
    if not limits then
        refuse("config.guest.cpu_kind", "must be shared or performance")
    end
    local cpus, memory = guest.cpus or 1, guest.memory_mb or 256
    if memory < limits[1] * cpus or memory > limits[2] * cpus or memory % limits[3] ~= 0 then
        refuse("config.guest.memory_mb", ("%g is not between %d and %d in steps of %d"):format(
            memory, limits[1] * cpus, limits[2] * cpus, limits[3]))
    end
end

local function verify_check(one, path)
    if one.type ~= "http" and one.type ~= "tcp" then
        refuse(path .. ".type", "must be http or tcp")
    end
end

local function seconds_of(text)
    return input.duration(text) or 0
end

---@param body table? of a create or update
function M.machine(body)
    if not body then
        refuse("body", "is missing")
    end
    remove_nulls(body, "machine")
    verify(body, machine, "machine")
    local wanted = body.config
    if type(wanted) ~= "table" or type(wanted.image) ~= "string" or wanted.image == "" then
        refuse("config.image", "is required")
    end
    if wanted.schedule and not schedules[wanted.schedule] then
        refuse("config.schedule", "must be hourly, daily, weekly or monthly")
    end
    if wanted.restart and wanted.restart.policy and not policies[wanted.restart.policy] then
        refuse("config.restart.policy", "must be no, on-failure or always")
    end
    if wanted.guest then
        verify_guest(wanted.guest)
    end
    for name, one in pairs(wanted.checks or {}) do
        verify_check(one, "config.checks." .. name)
        if one.interval and seconds_of(one.interval) < 2 then
            refuse("config.checks." .. name .. ".interval", "must be 2s or more")
        elseif one.timeout and seconds_of(one.timeout) > 60 then
            refuse("config.checks." .. name .. ".timeout", "must be 60s or less")
        end
    end
    for i, served in ipairs(wanted.services or {}) do
        for j, one in ipairs(served.checks or {}) do
            verify_check(one, ("config.services[%d].checks[%d]"):format(i - 1, j - 1))
        end
    end
end

return M
