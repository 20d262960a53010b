-- Checks a fly.toml: types and keys against its schema, then flyctl's rules. What flyctl cannot
-- read is a problem; what it would silently ignore is a warning that names the nearest key.
local duration = require "dgrun.core.duration"
local json = require "dgrun.core.json"
local opt = require "host.opt"
local patch = require "dgrun.fly.config_patch"
local schema = require "dgrun.fly.config_schema"
local tables = require "dgrun.core.table"
local units = require "dgrun.fly.units"

local extended = tables.extended

local M = {}

---@class dgrun.fly.finding
---@field path (string|integer)[]
---@field text string

local walk

---"services[0].ports": as flyctl counts.
---@param path (string|integer)[]
---@return string
local function path_text(path)
    local text = ""
    for _, key in ipairs(path) do
        if type(key) == "number" then
            text = ("%s[%d]"):format(text, key - 1)
        else
            text = text == "" and key or text .. "." .. key
        end
    end
    return text
end

local function shown(value)
    if value == json.null then
        return "null"
    end
    return type(value) == "string" and "'" .. value .. "'"
        or (type(value) == "table" and "a table" or tostring(value))
end

local function whole(value)
    return type(value) == "number" and value % 1 == 0 and math.abs(value) < 2 ^ 53
end

local function of_type(wanted)
    return function(value) return type(value) == wanted end
end

local function refused(wanted, value)
    return ("must be %s, not %s"):format(wanted, shown(value))
end

---Readers of the simple types: value → value as Go's types hold it | nil, what is wrong.
local simple = {}

local function add_simple(name, wanted, fits)
    simple[name] = function(value)
        if fits(value) then
            return value
        end
        return nil, refused(wanted, value)
    end
end

add_simple("string", "a string", of_type "string")
add_simple("boolean", "true or false", of_type "boolean")
add_simple("number", "a number", of_type "number")
add_simple("any", "", function() return true end)

function simple.integer(value)
    if whole(value) then
        return value
    end
    local large = patch.is_large(value) or (type(value) == "number" and value % 1 == 0)
    return nil, large and "is too large to be kept exactly" or refused("a whole number", value)
end

-- "off" and "stop" are sent as what the API answers.
local autostops = { off = false, stop = true, suspend = "suspend", [true] = true, [false] = false }

function simple.autostop(value)
    local result = autostops[value]
    if result ~= nil then
        return result
    end
    return nil, ("%s is not one of off, stop, suspend"):format(shown(value))
end

function simple.protocol(value)
    local lower = type(value) == "string" and value:lower()
    if lower == "tcp" or lower == "udp" or lower == "" then
        return value
    end
    return nil, ("%s is not one of tcp, udp"):format(shown(value))
end

---A number counts nanoseconds; older forms, in which it counts something else, are text already.
function simple.duration(value)
    local nanoseconds
    if type(value) == "number" and math.abs(value) < 2 ^ 53 then
        nanoseconds = duration.integer(value)
    elseif type(value) == "string" then
        nanoseconds = duration.nanoseconds(value)
    end
    if not nanoseconds then
        return nil, ("%s is not a duration; write 10s, 500ms or 1m30s"):format(shown(value))
    elseif nanoseconds < 0 then
        return nil, ("%s is negative"):format(duration.text(nanoseconds))
    end
    return duration.text(nanoseconds)
end

local function one_of(value, choices)
    local names = {}
    for _, choice in ipairs(choices) do
        if value == choice then
            return value ~= "" and value or nil
        end
        names[#names + 1] = choice ~= "" and choice or nil
    end
    return nil, ("%s is not one of %s"):format(shown(value), table.concat(names, ", "))
end

---The key of a structure that a name in a file means: Go's decoder takes any letter case.
local function key_of(name, known, lower)
    if known[name] then
        return name
    end
    return lower[tostring(name):lower()]
end

local function warn_unknown(name, known, path, findings)
    local nearest = opt.nearest(tostring(name), tables.keys(known))
    findings.warning(extended(path, name), ("unknown key; it has no effect%s"):format(
        nearest and ("; did you mean '%s'?"):format(nearest) or ""))
end

---One value over another, as a Go decoder that reads both: tables are merged.
local function over(old, new)
    if type(old) ~= "table" or type(new) ~= "table" or #old > 0 or #new > 0 then
        return new
    end
    local result = tables.merged(old)
    for name, value in pairs(new) do
        result[name] = over(old[name], value)
    end
    return result
end

local function fields(value, known, path, findings)
    local lower, found, result = {}, {}, {}
    for name in pairs(known) do
        lower[name:lower()] = name
    end
    for _, name in ipairs(tables.keys(value)) do
        local key = key_of(name, known, lower)
        if not key then
            warn_unknown(name, known, path, findings)
        elseif value[name] ~= json.null then
            if key ~= name then
                findings.warning(extended(path, name), ("is read as '%s'; write it so"):format(key))
            end
            local item = walk(value[name], known[key], extended(path, name), findings)
            result[key] = over(found[key], item)
            found[key] = result[key]
        end
    end
    return result
end

local function list(value, shape, path, findings)
    if not json.is_array(value) then
        findings.problem(path, shape == "string" and "must be a list of strings"
            or "must be an array of tables ([[…]])")
        return nil
    end
    local result = json.array {}
    for i, item in ipairs(value) do
        result[#result + 1] = walk(item, shape, extended(path, i), findings)
    end
    return result
end

local function map(value, shape, path, findings)
    local result = {}
    for name, item in pairs(value) do
        if item == json.null and shape == "string" then
            result[name] = ""
        else
            result[name] = walk(item, shape, extended(path, name), findings)
        end
    end
    return result
end

---A value as Go's types hold it: known keys in their own letter case, durations as text.
function walk(value, shape, path, findings)
    local reader = simple[shape]
    local result, reason
    if reader then
        result, reason = reader(value)
    elseif shape.one_of then
        result, reason = one_of(value, shape.one_of)
    elseif type(value) ~= "table" or patch.is_large(value) then
        reason = refused(shape.list and "a list" or "a table", value)
    elseif shape.list then
        return list(value, shape.list, path, findings)
    elseif json.is_array(value) then
        reason = "must be a table, not a list"
    else
        return (shape.map and map or fields)(value, shape.map or shape.fields, path, findings)
    end
    if reason then
        findings.problem(path, reason)
    end
    return result
end

---What was found, for people: sorted by where it stands.
---@param find_line fun(path: (string|integer)[]): integer?
---@param file string
---@return {problem: fun(path: table, text: string), warning: fun(path: table, text: string),
---  problems: fun(): string[], warnings: fun(): string[]}
function M.findings(find_line, file)
    local found = { problem = {}, warning = {} }
    local function adder(kind)
        return function(path, text)
            table.insert(found[kind], { path = path, text = text })
        end
    end
    local function lines(kind)
        local result = {}
        for i, one in ipairs(found[kind]) do
            local line = find_line(one.path)
            local name = path_text(one.path)
            result[i] = {
                line = line or 0,
                text = ("%s%s: %s%s"):format(file, line and (":%d"):format(line) or "",
                    name ~= "" and name .. ": " or "", one.text),
            }
        end
        table.sort(result, function(a, b)
            if a.line ~= b.line then
                return a.line < b.line
            end
            return a.text < b.text
        end)
        for i, one in ipairs(result) do
            result[i] = one.text
        end
        return result
    end
    return {
        problem = adder "problem", warning = adder "warning",
        problems = function() return lines "problem" end,
        warnings = function() return lines "warning" end,
    }
end

---A value as Go's types hold it, by a shape of the schema.
---@param value any
---@param shape table
---@param findings table of M.findings
---@return any
function M.read(value, shape, findings)
    return walk(value, shape, {}, findings)
end

---@param data table without older forms
---@param findings table of M.findings
---@return table # as Go's types hold it
function M.types(data, findings)
    return M.read(data, schema.shape, findings)
end

-- The rules that flyctl checks before a deploy: docs/fly/fly-toml.md, section 7. The types are
-- right already when these run.

local function splittable(findings, path, command)
    local _, reason = units.words(command or "")
    if reason then
        findings.problem(path, ("cannot be split into words: %s"):format(reason))
    end
end

local function check_build(build, findings)
    local kinds = 0
    for _, used in ipairs { build.image or false, build.builder or build.buildpacks or false,
        build.dockerfile or build["build-target"] or false, build.builtin or false } do
        kinds = kinds + (used and 1 or 0)
    end
    if kinds > 1 then
        findings.warning({ "build" }, "more than one of image, builder, dockerfile and builtin")
    end
    if build.compose then
        findings.problem({ "build", "compose" }, "dgrun does not read compose files; describe the "
            .. "containers in machine_config")
    end
    local level = build.compression_level
    if level and (level < 0 or level > 9) then
        findings.problem({ "build", "compression_level" }, "must be from 0 to 9")
    end
end

local function check_deploy(deploy, config, findings)
    splittable(findings, { "deploy", "release_command" }, deploy.release_command)
    local strategy = deploy.strategy
    if strategy == "canary" and #(config.mounts or {}) > 0 then
        findings.problem({ "deploy", "strategy" }, "canary does not work with mounts")
    end
    if deploy.max_unavailable and deploy.max_unavailable <= 0 then
        findings.problem({ "deploy", "max_unavailable" }, "must be more than 0")
    elseif deploy.max_unavailable and strategy ~= "rolling" and strategy ~= "canary" then
        findings.warning({ "deploy", "max_unavailable" },
            "only the strategies rolling and canary use it; name the strategy")
    end
end

local function check_top_level_check(name, check, findings)
    if check.type ~= "http" and check.type ~= "tcp" then
        findings.problem({ "checks", name, "type" }, ("must be http or tcp%s"):format(
            check.type and (", not '%s'"):format(check.type) or ""))
    end
    local interval = check.interval and duration.seconds(check.interval)
    local timeout = check.timeout and duration.seconds(check.timeout)
    if interval and interval < 2 then
        findings.problem({ "checks", name, "interval" }, "must be 2s or more")
    end
    if timeout and timeout > 60 then
        findings.problem({ "checks", name, "timeout" }, "must be 1m or less")
    end
end

local function check_service_check(path, check, findings)
    for _, name in ipairs { "interval", "timeout", "grace_period" } do
        local value = check[name] and duration.seconds(check[name])
        local inert = name == "grace_period" and value == 0
        if value and not inert and (value < 1 or value > 60) then
            findings.warning(extended(path, name), ("%s; Fly allows 1s to 1m and clamps it")
                :format(duration.of_seconds(value)))
        end
    end
end

local function check_groups(path, entry, config, groups, findings)
    for i, name in ipairs(entry.processes or {}) do
        if not groups[name] then
            findings.problem(extended(path, "processes", i),
                ("no process group '%s'"):format(name))
        end
    end
    if config.processes and next(config.processes) and #(entry.processes or {}) == 0 then
        findings.problem(path, "with [processes], a service must list its processes")
    end
end

local function check_services(config, groups, findings)
    local http = config.http_service
    if http then
        check_groups({ "http_service" }, http, config, groups, findings)
        if not http.internal_port then
            findings.warning({ "http_service" }, "internal_port is missing; Fly uses 8080")
        end
        for i, check in ipairs(http.checks or {}) do
            check_service_check({ "http_service", "checks", i }, check, findings)
        end
    end
    for n, service in ipairs(config.services or {}) do
        local path = { "services", n }
        check_groups(path, service, config, groups, findings)
        if #(service.ports or {}) == 0 then
            findings.warning(path, "has no ports: it cannot be reached from outside")
        end
        for _, kind in ipairs { "tcp_checks", "http_checks" } do
            for i, check in ipairs(service[kind] or {}) do
                check_service_check(extended(path, kind, i), check, findings)
            end
        end
    end
end

---The size of a mount in GB; 0 when it says none.
local function size_of(path, mount, name, findings)
    local value = mount[name]
    if value == nil or value == "" then
        return 0
    end
    local size = units.gigabytes(value)
    if not size then
        findings.problem(extended(path, name), ("'%s' is not a size"):format(value))
    elseif size < 1 then
        findings.problem(extended(path, name), "must be 1GB or more")
    end
    return size or 0
end

---All or none; only the limit may be left out.
local function check_extension(path, mount, findings)
    local threshold = mount.auto_extend_size_threshold or 0
    local increment = size_of(path, mount, "auto_extend_size_increment", findings)
    local limit = size_of(path, mount, "auto_extend_size_limit", findings)
    if threshold == 0 and increment == 0 and limit == 0 then
        return
    end
    local function between(name, value, low, high, unit)
        if value < low or value > high then
            findings.problem(extended(path, name), ("must be from %d%s to %d%s"):format(low, unit,
                high, unit))
        end
    end
    between("auto_extend_size_threshold", threshold, 50, 99, "")
    between("auto_extend_size_increment", increment, 1, 100, "GB")
    if limit ~= 0 then
        between("auto_extend_size_limit", limit, 1, 500, "GB")
    end
end

local function check_mount(path, mount, findings)
    size_of(path, mount, "initial_size", findings)
    check_extension(path, mount, findings)
    local days = mount.snapshot_retention
    if days and (days < 1 or days > 60) then
        findings.problem(extended(path, "snapshot_retention"), "must be from 1 to 60 days")
    end
    if (mount.source or "") == "" or (mount.destination or "") == "" then
        findings.problem(path, "needs source and destination")
    end
end

local function check_mounts(config, groups, default_group, findings)
    local count = {}
    for i, mount in ipairs(config.mounts or {}) do
        check_mount({ "mounts", i }, mount, findings)
        local names = mount.processes or {}
        for _, group in ipairs(#names > 0 and names or { default_group }) do
            count[group] = (count[group] or 0) + 1
            if count[group] == 2 and groups[group] then
                findings.problem({ "mounts", i }, ("group '%s' has several mounts; a machine takes "
                    .. "one volume"):format(group))
            end
        end
    end
end

local policies = { always = true, never = true, ["on-failure"] = true }

local function check_restart(config, groups, findings)
    for i, entry in ipairs(config.restart or {}) do
        if not policies[entry.policy] then
            findings.problem({ "restart", i, "policy" },
                ("'%s' is not one of always, never, on-failure"):format(tostring(entry.policy)))
        end
        for n, name in ipairs(entry.processes or {}) do
            if not groups[name] then
                findings.problem({ "restart", i, "processes", n },
                    ("no process group '%s'"):format(name))
            end
        end
    end
end

local function check_files(config, findings)
    for i, file in ipairs(config.files or {}) do
        if not file.guest_path or file.guest_path:sub(1, 1) ~= "/" then
            findings.problem({ "files", i }, "guest_path must be an absolute path")
        end
        local sources = {}
        for _, name in ipairs { "local_path", "secret_name", "raw_value" } do
            sources[#sources + 1] = (file[name] or "") ~= "" and name or nil
        end
        if #sources > 1 then
            findings.warning({ "files", i }, ("only %s has an effect"):format(sources[1]))
        end
    end
end

local function check_statics(config, findings)
    for i, entry in ipairs(config.statics or {}) do
        if not entry.guest_path or not entry.url_prefix then
            findings.warning({ "statics", i }, "has no effect without guest_path and url_prefix")
        end
    end
    if #(config.statics or {}) > 10 then
        findings.problem({ "statics" }, "more than 10 entries")
    end
end

local function check_test_machines(entries, path, findings)
    for i, entry in ipairs(entries or {}) do
        if #(entry.command or {}) == 0 then
            findings.problem(extended(path, "machine_checks", i), "needs a command")
        end
    end
end

local secret_like = { "PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_?KEY", "PRIVATE_?KEY" }

local function check_env(env, findings)
    for name in pairs(env or {}) do
        local upper = tostring(name):upper()
        for _, pattern in ipairs(secret_like) do
            if upper:find(pattern) then
                findings.warning({ "env", name },
                    "looks like a secret; set it with dgrun's secrets, not in a file")
                break
            end
        end
        if upper:find "^FLY_" then
            findings.warning({ "env", name }, "names that begin with FLY_ are reserved for Fly")
        end
    end
end

---@param config table the data of a fly.toml, its types checked
---@param groups table<string, true> process groups
---@param default_group string
---@param findings table of M.findings
function M.rules(config, groups, default_group, findings)
    check_build(config.build or {}, findings)
    check_deploy(config.deploy or {}, config, findings)
    check_env(config.env, findings)
    for name, command in pairs(config.processes or {}) do
        splittable(findings, { "processes", name }, command)
    end
    splittable(findings, { "console_command" }, config.console_command)
    for name, check in pairs(config.checks or {}) do
        check_top_level_check(name, check, findings)
    end
    check_services(config, groups, findings)
    check_mounts(config, groups, default_group, findings)
    check_restart(config, groups, findings)
    check_files(config, findings)
    check_statics(config, findings)
    check_test_machines(config.machine_checks, {}, findings)
    check_test_machines((config.http_service or {}).machine_checks, { "http_service" }, findings)
    for i, service in ipairs(config.services or {}) do
        check_test_machines(service.machine_checks, { "services", i }, findings)
    end
end

return M
