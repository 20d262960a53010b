-- fly.toml: read, checked, and turned into the configuration of a machine, for the sections
-- app, build, deploy, env, processes, http_service, services, checks, vm, restart, metrics, statics
-- and the stop settings of fly-toml.md. Others are refused by name, not ignored.
local check = require "dgrun.check"
local err = require "dgrun.err"
local fs = require "host.fs"
local path_of = require "dgrun.path"
local service = require "dgrun.fly.service"
local units = require "dgrun.fly.units"

local M = {}

---@class dgrun.fly.config
---@field app? string
---@field primary_region? string
---@field path string
---@field dir string folder of the file
---@field deploy table
---@field env table<string, string>
---@field processes table<string, string> group → command
---@field definition table the file's content, for the release

local known = {
    app = true, primary_region = true, kill_signal = true, kill_timeout = true,
    swap_size_mb = true, console_command = true, build = true, deploy = true, env = true,
    processes = true, http_service = true, services = true, checks = true, vm = true,
    compute = true, restart = true, metrics = true, statics = true, experimental = true,
}

local unsupported = {
    mounts = true, mount = true, files = true, machine_checks = true, host_dedication_id = true,
    machine_config = true, container = true, computes = true, metric = true,
}

local function problem(path, text, hint)
    err.raise { code = "fly.config", op = "fly.config", msg = ("%s: %s"):format(path, text),
        hint = hint }
end

local decoders = {
    json = function(text, path) return require("dgrun.json").decode(text, path) end,
    yaml = function(text, path)
        return check(require("host.yaml").decode(text, { source = path }))
    end,
}

local function decode_toml(text, path)
    return check(require("host.toml").decode(text, { source = path }))
end

---A single table where a list may stand.
local function list_of(value)
    if value == nil then
        return {}
    end
    return #value > 0 and value or (next(value) and { value } or {})
end

local function check_strategy(path, deploy)
    local strategy = deploy.strategy
    local all = { rolling = true, immediate = true, canary = true, bluegreen = true }
    if strategy ~= nil and not all[strategy] then
        problem(path, ("deploy.strategy '%s' is not one of rolling, immediate, canary, bluegreen")
            :format(tostring(strategy)))
    end
end

local function texts(table_of_values)
    local result = {}
    for name, value in pairs(table_of_values or {}) do
        result[name] = type(value) == "number" and ("%.14g"):format(value) or tostring(value)
    end
    return result
end

local function processes_of(data, path)
    local processes = {}
    for name, command in pairs(data.processes or {}) do
        if type(command) == "table" then
            name, command = command.name, command.command
        end
        if type(name) ~= "string" or type(command) ~= "string" then
            problem(path, "processes: a group is a name with a command")
        end
        local words, reason = units.words(command)
        if not words then
            problem(path, ("processes.%s: %s: %s"):format(name, reason, command))
        end
        processes[name] = command
    end
    return processes
end

---@param path string
---@return dgrun.fly.config
function M.load(path)
    path = tostring(path)
    local text, e = fs.read(path, { limit = 1024 * 1024 })
    if not text then
        e.hint = "Is the configuration file in the checkout? See `config` in environments.yaml."
        err.raise(e)
    end
    local decode = decoders[path:match("%.(%a+)$") or ""] or decode_toml
    local data = decode(text, path)
    for name in pairs(data) do
        if unsupported[name] then
            problem(path, ("the section '%s' is not supported yet"):format(name),
                "Deploy this app with fly deploy until it is.")
        end
        check.known(name, known, path .. ": there is no setting", "fly.config")
    end
    local config = {
        path = path, dir = path_of.dirname(path), app = data.app,
        primary_region = data.primary_region, definition = data, env = texts(data.env),
        deploy = data.deploy or {}, build = data.build or {},
        experimental = data.experimental or {}, console_command = data.console_command,
        kill_signal = data.kill_signal, kill_timeout = data.kill_timeout,
        swap_size_mb = data.swap_size_mb, http_service = data.http_service,
        services = list_of(data.services), checks = data.checks or {},
        vm = list_of(data.vm or data.compute), restart = data.restart or {},
        metrics = list_of(data.metrics), statics = data.statics or {},
    }
    config.processes = processes_of(data, path)
    check_strategy(path, config.deploy)
    local release = config.deploy.release_command
    if release ~= nil and (type(release) ~= "string" or not units.words(release)) then
        problem(path, "deploy.release_command cannot be split into words")
    end
    for _, group in ipairs(M.groups(config)) do
        M.machine(config, group)
    end
    return config
end

---The process groups, sorted; one called app when there is no [processes].
---@param config dgrun.fly.config
---@return string[]
function M.groups(config)
    local groups = {}
    for name in pairs(config.processes) do
        groups[#groups + 1] = name
    end
    table.sort(groups)
    return #groups > 0 and groups or { "app" }
end

---@return string # `app`, or the first group by name
function M.default_group(config)
    return config.processes.app and "app" or M.groups(config)[1]
end

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

local function command_of(config, group)
    local command = config.processes[group]
    local words = command and units.words(command)
    if words and #words > 0 then
        return words
    end
    local cmd = config.experimental.cmd
    return type(cmd) == "string" and { cmd } or cmd
end

---The guest of a [[vm]]: fly-toml.md 5.7.
---@param path string for messages
---@param vm table
function M.guest(path, vm)
    local guest, names = units.preset(vm.size or "shared-cpu-1x")
    if not guest then
        problem(path, ("vm.size '%s' is not known"):format(tostring(vm.size)),
            "There are " .. names .. ".")
    end
    if vm.memory ~= nil then
        guest.memory_mb = units.memory(vm.memory)
            or problem(path, ("vm.memory '%s' is not a size"):format(tostring(vm.memory)))
    end
    for _, name in ipairs { "cpus", "cpu_kind", "memory_mb", "kernel_args" } do
        if vm[name] ~= nil then
            guest[name] = vm[name]
        end
    end
    return guest
end

local function guest_of(config, group)
    local general, special
    for _, vm in ipairs(config.vm) do
        if not vm.processes or #vm.processes == 0 then
            general = vm
        elseif belongs(config, vm, group) then
            special = vm
        end
    end
    local vm = special or general
    return vm and M.guest(config.path, vm)
end

local policies = { always = "always", never = "no", ["on-failure"] = "on-failure" }

local function restart_of(config, group)
    local restart
    for _, entry in ipairs(config.restart) do
        if belongs(config, entry, group) or not entry.processes then
            local policy = policies[entry.policy]
            if not policy then
                problem(config.path, ("restart.policy '%s' is not one of always, never, on-failure")
                    :format(tostring(entry.policy)))
            end
            restart = { policy = policy, max_retries = entry.retries }
        end
    end
    return restart
end

---@return {timeout?: string, signal?: string}?
function M.stop_config(config)
    if not config.kill_signal and not config.kill_timeout then
        return nil
    end
    return { signal = config.kill_signal,
        timeout = service.duration(config.path, "kill_timeout", config.kill_timeout, 1) }
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

local function copy(value)
    if type(value) ~= "table" then
        return value
    end
    local result = {}
    for name, item in pairs(value) do
        result[name] = copy(item)
    end
    -- An empty array is one by its metatable only, and a large number too.
    return setmetatable(result, getmetatable(value))
end
M.copy = copy

---The machine configuration of a process group, without image: fly-toml.md section 5.
---@param config dgrun.fly.config
---@param group string
---@param existing? table what the machine has; some of it is kept
---@return table
function M.machine(config, group, existing)
    local function mine(entry) return belongs(config, entry, group) end
    local machine = copy(existing or {})
    machine.env = copy(config.env)
    machine.env.FLY_PROCESS_GROUP = group
    machine.env.PRIMARY_REGION = config.primary_region
    local entrypoint, exec = config.experimental.entrypoint, config.experimental.exec
    machine.init = {
        cmd = command_of(config, group), swap_size_mb = config.swap_size_mb,
        entrypoint = type(entrypoint) == "string" and { entrypoint } or entrypoint,
        exec = type(exec) == "string" and { exec } or exec,
        tty = existing and existing.init and existing.init.tty or nil,
        kernel_args = existing and existing.init and existing.init.kernel_args or nil,
    }
    machine.metadata = machine.metadata or {}
    machine.metadata.fly_platform_version = "v2"
    machine.metadata.fly_process_group = group
    machine.services = service.all(config, mine)
    machine.checks = service.top_level_checks(config, mine)
    machine.metrics = metrics_of(config, group)
    machine.statics = statics_of(config)
    machine.stop_config = M.stop_config(config)
    machine.restart = restart_of(config, group)
    machine.guest = guest_of(config, group) or machine.guest
    machine.mounts, machine.files = nil, nil
    return machine
end

return M
