-- The machine configuration of a process group, from a fly.toml: docs/fly/fly-toml.md, section 5.
local config_check = require "dgrun.fly.config_check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local schema = require "dgrun.fly.config_schema"
local tables = require "dgrun.core.table"
local units = require "dgrun.fly.units"

local M = {}

local FILE_LIMIT = 1024 * 1024

---The process groups, sorted; one called app when there is no [processes].
---@param config {processes: table<string, string>}
---@return string[]
function M.groups(config)
    local groups = tables.keys(config.processes)
    return #groups > 0 and groups or { "app" }
end

---@return string # `app`, or the first group by name
function M.default_group(config)
    return (config.processes or {}).app and "app" or M.groups(config)[1]
end

---An entry belongs to the groups it names, or to the default group.
---@param config {processes: table<string, string>}
---@param entry {processes?: string[]}
---@param group string
---@return boolean
function M.belongs(config, entry, group)
    local processes = entry.processes
    if not processes or #processes == 0 then
        return group == M.default_group(config)
    end
    for _, name in ipairs(processes) do
        if name == group then
            return true
        end
    end
    return false
end

-- Services and checks of fly.toml as a machine has them: docs/fly/fly-toml.md, sections 2.7 to 2.9
-- and 5.3 to 5.5. The file was checked before.

---@param headers? table<string, string>
local function headers_of(headers)
    local result = {}
    for i, name in ipairs(tables.keys(headers)) do
        result[i] = { name = name, values = { headers[name] } }
    end
    return #result > 0 and result or nil
end

local function check_of(entry, kind)
    return {
        type = kind, interval = entry.interval, timeout = entry.timeout,
        grace_period = entry.grace_period, method = entry.method,
        path = entry.path, protocol = entry.protocol, tls_skip_verify = entry.tls_skip_verify,
        tls_server_name = entry.tls_server_name, headers = headers_of(entry.headers),
    }
end

local function common(entry)
    return {
        internal_port = entry.internal_port, autostop = entry.auto_stop_machines,
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
        checks[i] = check_of(one, "http")
    end
    service.checks = #checks > 0 and checks or nil
    return service
end

local function plain_service(entry)
    local service = common(entry)
    service.protocol = entry.protocol and entry.protocol ~= "" and entry.protocol or "tcp"
    service.ports = entry.ports
    local checks = {}
    for _, kind in ipairs { "tcp", "http" } do
        for _, one in ipairs(entry[kind .. "_checks"] or {}) do
            checks[#checks + 1] = check_of(one, kind)
        end
    end
    service.checks = #checks > 0 and checks or nil
    return service
end

---@param config dgrun.fly.config
---@param mine fun(entry: table): boolean does it belong to the group?
---@return table[]? # http_service first, then [[services]]
local function services_of(config, mine)
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
local function top_level_checks(config, mine)
    local checks
    local fallback = config.http_service and mine(config.http_service)
        and config.http_service.internal_port
    for name, entry in pairs(config.checks) do
        if mine(entry) then
            local one = check_of(entry, entry.type)
            one.port = entry.port or fallback or nil
            one.method = one.method and one.method:upper()
            checks = checks or {}
            checks[name] = one
        end
    end
    return checks
end

local function command_of(config, group)
    local command = config.processes[group]
    local words = command and units.words(command)
    if words and #words > 0 then
        return words
    end
    return config.experimental.cmd
end

local gpu_sizes = { ["a100-40gb"] = true, ["a100-80gb"] = true, l40s = true, a10 = true }

---The guest of a [[vm]]: docs/fly/fly-toml.md, section 5.7.
---@param config dgrun.fly.config
---@param vm table
---@return table? guest
---@return string? problem
function M.guest(config, vm)
    local size = vm.size and vm.size ~= "" and vm.size or "shared-cpu-1x"
    if (vm.gpu_kind or "") ~= "" or (vm.gpus or 0) ~= 0 or gpu_sizes[size] then
        return nil, "GPUs are no longer offered"
    end
    local guest, known = units.preset(size)
    if not guest then
        return nil, ("unknown size '%s'; known sizes: %s"):format(size, known)
    end
    guest.host_dedication_id = config.host_dedication_id
    if vm.memory and vm.memory ~= "" then
        guest.memory_mb = units.memory(vm.memory)
        if not guest.memory_mb then
            return nil, ("memory '%s' is not a size"):format(vm.memory)
        end
    end
    for _, name in ipairs { "cpus", "cpu_kind", "memory_mb", "max_memory_mb",
        "host_dedication_id", "persist_rootfs", "kernel_args" } do
        local value = vm[name]
        if value ~= nil and value ~= "" and value ~= 0 then
            guest[name] = value
        end
    end
    return guest, units.guest_problem(guest)
end

---Of the entries that name the group the last, else of the general ones the first; its index too.
local function vm_of(config, group)
    local general, special
    for i, vm in ipairs(config.vm) do
        if not vm.processes or #vm.processes == 0 then
            general = general or i
        elseif M.belongs(config, vm, group) then
            special = i
        end
    end
    local at = special or general
    return at and config.vm[at], at
end

local function guest_of(config, group)
    local vm = vm_of(config, group)
    return vm and M.guest(config, vm) or nil
end

local policies = { always = "always", never = "no", ["on-failure"] = "on-failure" }

local function restart_of(config, group)
    local restart
    for _, entry in ipairs(config.restart) do
        if M.belongs(config, entry, group) then
            restart = { policy = policies[entry.policy], max_retries = entry.retries }
        end
    end
    return restart
end

---@return {timeout?: string, signal?: string}?
function M.stop_config(config)
    local signal = config.kill_signal ~= "" and config.kill_signal or nil
    if not signal and not config.kill_timeout then
        return nil
    end
    return { signal = signal, timeout = config.kill_timeout }
end

local function metrics_of(config, group)
    for _, entry in ipairs(config.metrics) do
        if M.belongs(config, entry, group) then
            return { port = entry.port, path = entry.path, https = entry.https }
        end
    end
end

local function statics_of(config)
    local statics = {}
    for i, entry in ipairs(config.statics) do
        statics[i] = { guest_path = entry.guest_path or "", url_prefix = entry.url_prefix or "",
            tigris_bucket = entry.tigris_bucket or "", index_document = entry.index_document or "" }
    end
    return #statics > 0 and statics or nil
end

---The volume's id is filled in by the deploy.
local function mounts_of(config, group)
    for _, entry in ipairs(config.mounts) do
        if M.belongs(config, entry, group) then
            return { {
                name = entry.source, path = entry.destination,
                extend_threshold_percent = entry.auto_extend_size_threshold,
                add_size_gb = units.gigabytes(entry.auto_extend_size_increment or ""),
                size_gb_limit = units.gigabytes(entry.auto_extend_size_limit or ""),
            } }
        end
    end
end

local function content_of(config, entry)
    local base64 = require("host.digest").base64
    if entry.local_path and entry.local_path ~= "" then
        local path = entry.local_path
        path = path:sub(1, 1) == "/" and path or config.dir / path
        local text, e = fs.read(path, { limit = FILE_LIMIT })
        if not text then
            e.code, e.msg = "fly.config", ("%s: files: %s"):format(config.path, e.msg)
            err.raise(e)
        end
        return base64(text)
    end
    local raw = not entry.secret_name and entry.raw_value
    return raw and raw ~= "" and base64(raw) or nil
end

---The files of every group: their `processes` have no effect with flyctl either. A later entry of
---the same path wins; one without a source removes it.
---@return table[]?
function M.files(config)
    local files, at = {}, {}
    for _, entry in ipairs(config.files) do
        local content = content_of(config, entry)
        local secret = not content and entry.secret_name ~= "" and entry.secret_name or nil
        local file = { guest_path = entry.guest_path, secret_name = secret, raw_value = content }
        local place = at[entry.guest_path]
        if place and not content and not secret then
            files[place], at[entry.guest_path] = false, nil
        else
            place = place or #files + 1
            files[place], at[entry.guest_path] = file, place
        end
    end
    local result = {}
    for _, file in ipairs(files) do
        result[#result + 1] = file or nil
    end
    return #result > 0 and result or nil
end

-- What flyctl's type of a machine configuration has and fly.toml does not set. Everything else in
-- `machine_config` has no effect: it is not known, or fly.toml decides.
local from_base = { init = true, guest = true, metadata = true, schedule = true, dns = true,
    auto_destroy = true, disable_machine_autostart = true, processes = true, standbys = true,
    containers = true, volumes = true, rootfs = true, size = true }

---`machine_config`: JSON text, or the path of a JSON file.
local function base_of(config)
    local given = config.experimental.machine_config or config.machine_config
    if not given or given == "" then
        return {}
    end
    local text, source = given, config.path .. ": machine_config"
    if given:find "%.json$" and not given:find "^{" then
        source = given:sub(1, 1) == "/" and given or config.dir / given
        local e
        text, e = fs.read(source, { limit = FILE_LIMIT })
        if not text then
            e.code, e.msg = "fly.config", ("%s: machine_config: %s"):format(config.path, e.msg)
            err.raise(e)
        end
    end
    local ok, base = pcall(json.decode, text, source)
    if not ok or type(base) ~= "table" or text:find "^%s*%[" or json.laxity(text) then
        err.raise { code = "fly.config", op = "fly.config", cause = not ok and base or nil,
            msg = source .. " is not a JSON object",
            hint = not ok and not text:find "^%s*{" and "machine_config is JSON text, or the path "
                .. "of a file that ends in .json." or nil }
    end
    local findings = config_check.findings(function() end, source)
    base = config_check.read(base, schema.machine, findings)
    local problems = findings.problems()
    if #problems > 0 then
        err.raise { code = "fly.config", op = "fly.config", problems = problems,
            msg = table.concat(problems, "\n") }
    end
    return base
end

---As Go's decoder reads an object into what is there already: tables are merged, the rest replaced.
local function overlay(machine, base)
    for name, value in pairs(base) do
        local old = machine[name]
        if type(old) == "table" and type(value) == "table" and #value == 0 and #old == 0 then
            overlay(old, value)
        else
            machine[name] = value
        end
    end
end

---Puts what machine_config says over what the machine has.
local function apply_base(machine, config)
    local base = base_of(config)
    for name in pairs(base) do
        if not from_base[name] then
            base[name] = nil
        end
    end
    overlay(machine, base)
end

---@param config dgrun.fly.config
---@param group string
---@param existing? table what the machine has; some of it is kept
---@return table # without image
function M.of(config, group, existing)
    local function mine(entry) return M.belongs(config, entry, group) end
    local machine = tables.copy(existing or {})
    apply_base(machine, config)
    machine.env = tables.copy(config.env)
    machine.env.FLY_PROCESS_GROUP = group
    if config.primary_region and config.primary_region ~= "" then
        machine.env.PRIMARY_REGION = config.primary_region
    end
    local init = type(machine.init) == "table" and machine.init or {}
    init.cmd, init.swap_size_mb = command_of(config, group), config.swap_size_mb
    init.entrypoint, init.exec = config.experimental.entrypoint, config.experimental.exec
    machine.init = init
    machine.metadata = type(machine.metadata) == "table" and machine.metadata or {}
    machine.metadata.fly_platform_version = "v2"
    machine.metadata.fly_process_group = group
    machine.services = services_of(config, mine)
    machine.checks = top_level_checks(config, mine)
    machine.metrics = metrics_of(config, group)
    machine.statics = statics_of(config)
    machine.stop_config = M.stop_config(config)
    machine.restart = restart_of(config, group)
    machine.guest = guest_of(config, group) or machine.guest
    machine.mounts = mounts_of(config, group)
    machine.files = M.files(config)
    return machine
end

---Which container takes the image: the named one, else the one called app, else the first.
---@return table? container
---@return string? problem
local function app_container(config, containers)
    local wanted = config.container and config.container ~= "" and config.container
    for _, container in ipairs(containers) do
        if container.name == (wanted or "app") then
            return container
        end
    end
    if wanted then
        return nil, ("container '%s' is not in machine_config"):format(wanted)
    end
    return containers[1]
end

-- What stands for the app's image in a container of machine_config.
local APP_IMAGE = "."

---Puts the image where it belongs: the machine, the container that takes it, and where a container
---says so.
---@param machine table
---@param image string
function M.set_image(config, machine, image)
    machine.image = image
    if type(machine.containers) == "table" and #machine.containers > 0 then
        local chosen = app_container(config, machine.containers)
        for _, container in ipairs(machine.containers) do
            if container == chosen or container.image == APP_IMAGE then
                container.image = image
            end
            for _, file in ipairs(type(container.files) == "table" and container.files or {}) do
                file.image_config = file.image_config == APP_IMAGE and image or file.image_config
            end
        end
    end
end

---@return string? problem
local function containers_problem(config, machine)
    local containers = machine.containers
    if type(containers) ~= "table" or #containers == 0 then
        return nil
    end
    local chosen, problem = app_container(config, containers)
    for _, container in ipairs(containers) do
        if container ~= chosen and (container.image or "") == "" then
            problem = problem or ("container '%s' needs an image"):format(tostring(container.name))
        end
    end
    return problem
end

---@class dgrun.fly.machine_check
---@field command string[]
---@field image? string
---@field entrypoint? string[]

---The machine checks of a group: those of its services, and the general ones.
---@param config dgrun.fly.config
---@param group string
---@return dgrun.fly.machine_check[]
function M.machine_checks(config, group)
    local found = {}
    local function add(list)
        for _, entry in ipairs(list or {}) do
            found[#found + 1] = entry
        end
    end
    if config.http_service and M.belongs(config, config.http_service, group) then
        add(config.http_service.machine_checks)
    end
    for _, entry in ipairs(config.services) do
        if M.belongs(config, entry, group) then
            add(entry.machine_checks)
        end
    end
    add(config.machine_checks)
    return found
end

---A check takes its port from the http_service of its group.
local function check_ports(config, group, findings)
    local http = config.http_service
    for name, entry in pairs(config.checks) do
        if not entry.port and M.belongs(config, entry, group)
            and not (http and M.belongs(config, http, group)) then
            findings.problem({ "checks", name }, "no port set")
        end
    end
end

---What only shows when a machine configuration is made.
---@param config dgrun.fly.config
---@param findings table of config_check.findings
function M.check(config, findings)
    for i, vm in ipairs(config.vm) do
        local _, problem = M.guest(config, vm)
        if problem then
            findings.problem({ "vm", i }, problem)
        end
    end
    local vm = (config.deploy.release_command or "") ~= "" and config.deploy.release_command_vm
    local _, problem
    if vm then
        _, problem = M.guest(config, vm)
    end
    if problem then
        findings.problem({ "deploy", "release_command_vm" }, problem)
    end
    for _, group in ipairs(M.groups(config)) do
        check_ports(config, group, findings)
    end
    if #findings.problems() > 0 then
        return
    end
    for _, group in ipairs(M.groups(config)) do
        problem = containers_problem(config, M.of(config, group))
        if problem then
            return findings.problem({ "machine_config" }, problem)
        end
    end
end

---The configuration of a machine for another one: without what belongs to this machine alone.
---@param machine table as the API shows it
---@return table config of the Machines API
function M.copy_of(machine)
    local config = tables.copy(machine.config)
    for _, mount in ipairs(config.mounts or {}) do
        mount.volume = nil
    end
    config.standbys = nil
    return config
end

return M
