-- The machine configuration of a process group, from a fly.toml: docs/fly/fly-toml.md, section 5.
local err = require "dgrun.core.err"
local fs = require "host.fs"
local json = require "dgrun.core.json"
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
local function belongs(config, entry, group)
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

local NANOSECOND, MILLISECOND = 1e-9, 1e-3

---@param value? string|number
---@param unit number seconds that a bare number counts in
---@return string? # as Go prints it
local function duration(value, unit)
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
        type = kind, interval = duration(entry.interval, unit),
        timeout = duration(entry.timeout, unit),
        grace_period = duration(entry.grace_period, unit), method = entry.method,
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
            local one = check_of(entry, entry.type, MILLISECOND)
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

---The guest of a [[vm]]: docs/fly/fly-toml.md, section 5.7.
---@param config dgrun.fly.config
---@param vm table
---@return table? guest
---@return string? problem
function M.guest(config, vm)
    if vm.gpu_kind or (vm.gpus or 0) > 0 then
        return nil, "GPUs are no longer offered"
    end
    local guest, known = units.preset(vm.size or "shared-cpu-1x")
    if not guest then
        return nil, ("unknown size '%s'; known sizes: %s"):format(vm.size, known)
    end
    guest.host_dedication_id = config.host_dedication_id
    if vm.memory ~= nil then
        guest.memory_mb = units.memory(vm.memory)
        if not guest.memory_mb then
            return nil, ("memory '%s' is not a size"):format(tostring(vm.memory))
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

---Of the general entries and those that name the group, one that names it; its index too.
local function vm_of(config, group)
    local general, special
    for i, vm in ipairs(config.vm) do
        if not vm.processes or #vm.processes == 0 then
            general = i
        elseif belongs(config, vm, group) then
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
        if belongs(config, entry, group) then
            restart = { policy = policies[entry.policy], max_retries = entry.retries }
        end
    end
    return restart
end

---@return {timeout?: string, signal?: string}?
function M.stop_config(config)
    if not config.kill_signal and not config.kill_timeout then
        return nil
    end
    return { signal = config.kill_signal, timeout = duration(config.kill_timeout, 1) }
end

local function metrics_of(config, group)
    for _, entry in ipairs(config.metrics) do
        if belongs(config, entry, group) then
            return { port = entry.port, path = entry.path, https = entry.https }
        end
    end
end

local function statics_of(config)
    local statics = {}
    for i, entry in ipairs(config.statics) do
        statics[i] = { guest_path = entry.guest_path, url_prefix = entry.url_prefix,
            tigris_bucket = entry.tigris_bucket or "", index_document = entry.index_document or "" }
    end
    return #statics > 0 and statics or nil
end

---The volume's id is filled in by the deploy.
local function mounts_of(config, group)
    for _, entry in ipairs(config.mounts) do
        if belongs(config, entry, group) then
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
    if entry.local_path then
        local path = entry.local_path
        path = path:sub(1, 1) == "/" and path or config.dir / path
        local text, e = fs.read(path, { limit = FILE_LIMIT })
        if not text then
            e.code, e.msg = "fly.config", ("%s: files: %s"):format(config.path, e.msg)
            err.raise(e)
        end
        return base64(text)
    end
    return entry.raw_value and base64(entry.raw_value)
end

---The files of every group: their `processes` have no effect with flyctl either. A later entry of
---the same path wins; one without a source removes it.
---@return table[]?
function M.files(config)
    local files, at = {}, {}
    for _, entry in ipairs(config.files) do
        local file = { guest_path = entry.guest_path, secret_name = entry.secret_name,
            raw_value = content_of(config, entry) }
        local place = at[entry.guest_path] or #files + 1
        if file.secret_name or (file.raw_value and file.raw_value ~= "") then
            files[place], at[entry.guest_path] = file, place
        elseif at[entry.guest_path] then
            table.remove(files, place)
            at[entry.guest_path] = nil
            for path, position in pairs(at) do
                at[path] = position > place and position - 1 or position
            end
        end
    end
    return #files > 0 and files or nil
end

---The base of `machine_config`: JSON text, or the path of a JSON file.
local function base_of(config)
    local given = config.experimental.machine_config or config.machine_config
    if not given or given == "" then
        return {}
    end
    local text, source = given, config.path .. ": machine_config"
    if not given:find "^%s*{" then
        source = config.dir / given
        local e
        text, e = fs.read(source, { limit = FILE_LIMIT })
        if not text then
            e.code, e.msg = "fly.config", ("%s: machine_config: %s"):format(config.path, e.msg)
            err.raise(e)
        end
    end
    local ok, base = pcall(json.decode, text, source)
    if not ok or type(base) ~= "table" then
        err.raise { code = "fly.config", op = "fly.config", cause = not ok and base or nil,
            msg = source .. " is not a JSON object" }
    end
    return base
end

---What the file says goes before what machine_config says.
local function merge_base(machine, base)
    for name, value in pairs(base) do
        if machine[name] == nil then
            machine[name] = value
        elseif type(machine[name]) == "table" and type(value) == "table"
            and #value == 0 and #machine[name] == 0 then
            merge_base(machine[name], value)
        end
    end
end

---@param config dgrun.fly.config
---@param group string
---@param existing? table what the machine has; some of it is kept
---@return table # without image
function M.of(config, group, existing)
    local function mine(entry) return belongs(config, entry, group) end
    local machine = tables.copy(existing or {})
    machine.env = tables.copy(config.env)
    machine.env.FLY_PROCESS_GROUP = group
    machine.env.PRIMARY_REGION = config.primary_region
    local init = type(machine.init) == "table" and machine.init or {}
    init.cmd, init.swap_size_mb = command_of(config, group), config.swap_size_mb
    init.entrypoint, init.exec = config.experimental.entrypoint, config.experimental.exec
    machine.init = init
    machine.metadata = machine.metadata or {}
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
    merge_base(machine, base_of(config))
    return machine
end

---Puts the image where it belongs: the machine, and of several containers the named one, the one
---called app, or the first.
---@param machine table
---@param image string
function M.set_image(config, machine, image)
    machine.image = image
    local containers = machine.containers
    if type(containers) ~= "table" or #containers == 0 then
        return
    end
    local chosen
    for _, container in ipairs(containers) do
        if container.name == (config.container or "app") then
            chosen = container
        end
    end
    chosen = chosen or containers[1]
    chosen.image = image
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
    if config.http_service and belongs(config, config.http_service, group) then
        add(config.http_service.machine_checks)
    end
    for _, entry in ipairs(config.services) do
        if belongs(config, entry, group) then
            add(entry.machine_checks)
        end
    end
    add(config.machine_checks)
    return found
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
    local vm = config.deploy.release_command_vm
    local _, problem
    if vm then
        _, problem = M.guest(config, vm)
    end
    if problem then
        findings.problem({ "deploy", "release_command_vm" }, problem)
    end
    for name, entry in pairs(config.checks) do
        if not entry.port and not (config.http_service and config.http_service.internal_port) then
            findings.problem({ "checks", name }, "no port set")
        end
    end
    if #findings.problems() == 0 then
        for _, group in ipairs(M.groups(config)) do
            M.of(config, group)
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
