-- The keys of fly.toml and their types, after the legacy forms are gone: docs/fly/fly-toml.md,
-- section 2; and the older forms that flyctl still reads, brought to the present one by `patch`:
-- section 3, in its order. A value of a type that no form has is left for the check to name.
--
-- A type is a name; {list = type}; {map = type}; {fields = {…}}; {duration = seconds that a bare
-- number counts in}; {one_of = {…}}.

local M = {}

local strings = { list = "string" }

local function one_of(...)
    return { one_of = { ... } }
end


local concurrency = { fields = {
    type = one_of("connections", "requests", ""), hard_limit = "integer", soft_limit = "integer",
} }

local tls_options = { fields = {
    alpn = strings, versions = strings, default_self_signed = "boolean",
} }

local http_options = { fields = {
    compress = "boolean", h2_backend = "boolean", idle_timeout = "integer",
    headers_read_timeout = "integer",
    response = { fields = { headers = { map = "any" }, pristine = "boolean" } },
    replay_cache = { list = { fields = {
        path_prefix = "string", ttl_seconds = "integer", type = "string",
        name = "string", allow_bypass = "boolean",
    } } },
} }

local machine_checks = { list = { fields = {
    command = strings, image = "string", entrypoint = strings, kill_signal = "string",
    kill_timeout = "duration",
} } }

local function check_fields(more)
    local fields = {
        interval = "duration", timeout = "duration", grace_period = "duration", method = "string",
        path = "string", protocol = "string", tls_skip_verify = "boolean",
        tls_server_name = "string", headers = { map = "string" },
    }
    for name, kind in pairs(more or {}) do
        fields[name] = kind
    end
    return { fields = fields }
end

local vm = {
    size = "string", memory = "string", cpus = "integer", cpu_kind = "string",
    memory_mb = "integer", max_memory_mb = "integer", gpus = "integer", gpu_kind = "string",
    host_dedication_id = "string", persist_rootfs = one_of("never", "always", "restart"),
    kernel_args = strings, processes = strings,
}

local sections = {
    build = { fields = {
        image = "string", dockerfile = "string", ignorefile = "string",
        ["build-target"] = "string", args = { map = "string" }, builder = "string",
        buildpacks = strings, builtin = "string", settings = { map = "any" },
        compose = { fields = { file = "string" } }, compression = one_of("gzip", "zstd", ""),
        compression_level = "integer",
    } },
    deploy = { fields = {
        strategy = one_of("rolling", "canary", "immediate", "bluegreen", ""),
        max_unavailable = "number", wait_timeout = "duration", release_command = "string",
        release_command_timeout = "duration", release_command_vm = { fields = vm },
        seed_command = "string",
    } },
    experimental = { fields = {
        cmd = strings, entrypoint = strings, exec = strings, auto_rollback = "boolean",
        enable_consul = "boolean", enable_etcd = "boolean", lazy_load_images = "boolean",
        attached = { map = "any" }, machine_config = "string",
    } },
    http_service = { fields = {
        internal_port = "integer", force_https = "boolean", auto_stop_machines = "autostop",
        auto_start_machines = "boolean", min_machines_running = "integer", processes = strings,
        concurrency = concurrency, tls_options = tls_options, http_options = http_options,
        checks = { list = check_fields {} },
        machine_checks = machine_checks,
    } },
    services = { list = { fields = {
        protocol = "protocol", internal_port = "integer", auto_stop_machines = "autostop",
        auto_start_machines = "boolean", min_machines_running = "integer",
        ports = { list = { fields = {
            port = "integer", start_port = "integer", end_port = "integer", handlers = strings,
            force_https = "boolean", tls_options = tls_options, http_options = http_options,
            proxy_proto_options = { fields = { version = "string" } },
        } } },
        concurrency = concurrency,
        tcp_checks = { list = { fields = { interval = "duration", timeout = "duration",
            grace_period = "duration" } } },
        http_checks = { list = check_fields {} },
        machine_checks = machine_checks, processes = strings,
    } } },
    checks = { map = check_fields {
        type = "string", port = "integer", processes = strings,
    } },
    mounts = { list = { fields = {
        source = "string", destination = "string", initial_size = "string",
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
    kill_timeout = "duration", swap_size_mb = "integer", console_command = "string",
    host_dedication_id = "string", machine_config = "string", container = "string",
    env = { map = "string" }, processes = { map = "string" },
}
for name, shape in pairs(sections) do
    top[name] = shape
end

---The shape of the whole file.
M.shape = { fields = top }

local object = { map = "any" }
local objects = { list = object }

---The shape of `machine_config`: a configuration of the Machines API.
M.machine = { fields = {
    init = { fields = { cmd = strings, entrypoint = strings, exec = strings, tty = "boolean",
        swap_size_mb = "integer", kernel_args = strings } },
    guest = { fields = { cpu_kind = "string", cpus = "integer", memory_mb = "integer",
        max_memory_mb = "integer", gpus = "integer", gpu_kind = "string",
        host_dedication_id = "string", persist_rootfs = "any", kernel_args = strings } },
    metadata = { map = "string" }, env = { map = "string" }, image = "string",
    schedule = "string", size = "string", dns = object, auto_destroy = "boolean",
    disable_machine_autostart = "boolean", processes = objects, standbys = strings,
    containers = objects, volumes = objects, rootfs = object, services = objects,
    checks = { map = object }, mounts = objects, files = objects, statics = objects,
    metrics = object, restart = object, stop_config = object,
} }

return M
