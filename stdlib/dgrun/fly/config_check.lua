-- Checks a fly.toml: types and keys against its schema, then flyctl's rules. What flyctl cannot
-- read is a problem; what it would silently ignore is a warning that names the nearest key.
local opt = require "host.opt"
local schema = require "dgrun.fly.config_schema"
local tables = require "dgrun.core.table"
local units = require "dgrun.fly.units"

local M = {}

---@class dgrun.fly.finding
---@field path (string|integer)[]
---@field text string

local walk

local function extended(path, ...)
    local result = { unpack(path) }
    for _, key in ipairs { ... } do
        result[#result + 1] = key
    end
    return result
end

---"services[0].ports": as flyctl counts.
---@param path (string|integer)[]
---@return string
function M.path_text(path)
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
    return type(value) == "string" and "'" .. value .. "'"
        or (type(value) == "table" and "a table" or tostring(value))
end

local simple = {
    string = { "a string", function(v) return type(v) == "string" end },
    boolean = { "true or false", function(v) return type(v) == "boolean" end },
    number = { "a number", function(v) return type(v) == "number" end },
    integer = { "a whole number", function(v) return type(v) == "number" and v % 1 == 0 end },
    scalar = { "a string, a number or a boolean", function(v) return type(v) ~= "table" end },
    size = { "a size", function(v) return type(v) == "string" or type(v) == "number" end },
    headers = { "a table of headers", function(v) return type(v) == "table" end },
    any = { "", function() return true end },
}

local function one_of(value, choices, path, findings)
    for _, choice in ipairs(choices) do
        if value == choice then
            return
        end
    end
    local names = {}
    for _, choice in ipairs(choices) do
        names[#names + 1] = type(choice) == "string" and choice or nil
    end
    findings.problem(path, ("%s is not one of %s"):format(shown(value), table.concat(names, ", ")))
end

local function duration(value, path, findings)
    if type(value) == "number" or (type(value) == "string" and units.seconds(value)) then
        return
    end
    findings.problem(path, ("%s is not a duration; write 10s, 500ms or 1m30s"):format(
        shown(value)))
end

local function fields(value, known, path, findings)
    local names = tables.keys(known)
    for name, item in pairs(value) do
        if known[name] then
            walk(item, known[name], extended(path, name), findings)
        else
            local nearest = opt.nearest(tostring(name), names)
            findings.warning(extended(path, name), ("unknown key; it has no effect%s"):format(
                nearest and ("; did you mean '%s'?"):format(nearest) or ""))
        end
    end
end

local function is_list(value)
    return #value > 0 or next(value) == nil
end

function walk(value, shape, path, findings)
    if type(shape) == "string" then
        local wanted, fits = unpack(simple[shape])
        if not fits(value) then
            findings.problem(path, ("must be %s, not %s"):format(wanted, shown(value)))
        end
    elseif shape.one_of then
        one_of(value, shape.one_of, path, findings)
    elseif shape.duration then
        duration(value, path, findings)
    elseif type(value) ~= "table" then
        findings.problem(path, ("must be a %s, not %s"):format(
            shape.list and "list" or "table", shown(value)))
    elseif shape.list then
        if not is_list(value) then
            return findings.problem(path, shape.list == "string" and "must be a list of strings"
                or "must be an array of tables ([[…]])")
        end
        for i, item in ipairs(value) do
            walk(item, shape.list, extended(path, i), findings)
        end
    elseif #value > 0 then
        findings.problem(path, "must be a table, not a list")
    elseif shape.map then
        for name, item in pairs(value) do
            walk(item, shape.map, extended(path, name), findings)
        end
    else
        fields(value, shape.fields, path, findings)
    end
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
            local name = M.path_text(one.path)
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

---@param data table without legacy forms
---@param findings table of M.findings
function M.types(data, findings)
    walk(data, schema.shape, {}, findings)
end

-- The rules that flyctl checks before a deploy: docs/fly/fly-toml.md, section 7. The types are
-- right already when these run.

local function seconds(value, unit)
    if type(value) == "number" then
        return value * unit
    end
    return value and units.seconds(value)
end

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
    local interval, timeout = seconds(check.interval, 1e-3), seconds(check.timeout, 1e-3)
    if interval and interval < 2 then
        findings.problem({ "checks", name, "interval" }, "must be 2s or more")
    end
    if timeout and timeout > 60 then
        findings.problem({ "checks", name, "timeout" }, "must be 1m or less")
    end
end

local function check_service_check(path, check, unit, findings)
    for _, name in ipairs { "interval", "timeout", "grace_period" } do
        local value = seconds(check[name], unit)
        local inert = name == "grace_period" and value == 0
        if value and not inert and (value < 1 or value > 60) then
            findings.warning(extended(path, name), ("%s; Fly allows 1s to 1m and clamps it")
                :format(units.duration(value)))
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
            check_service_check({ "http_service", "checks", i }, check, 1e-9, findings)
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
                check_service_check(extended(path, kind, i), check, 1e-3, findings)
            end
        end
    end
end

local function size_between(path, value, low, high, findings)
    local size = value ~= nil and units.gigabytes(value)
    if value ~= nil and not size then
        findings.problem(path, ("'%s' is not a size"):format(tostring(value)))
    elseif size and (size < low or size > high) then
        findings.problem(path, high == math.huge and ("must be %dGB or more"):format(low)
            or ("must be from %dGB to %dGB"):format(low, high))
    end
end

local function check_mount(path, mount, findings)
    size_between(extended(path, "initial_size"), mount.initial_size, 1, math.huge, findings)
    size_between(extended(path, "auto_extend_size_increment"), mount.auto_extend_size_increment,
        1, 100, findings)
    size_between(extended(path, "auto_extend_size_limit"), mount.auto_extend_size_limit, 1, 500,
        findings)
    local days = mount.snapshot_retention
    if days and (days < 1 or days > 60) then
        findings.problem(extended(path, "snapshot_retention"), "must be from 1 to 60 days")
    end
    local threshold = mount.auto_extend_size_threshold
    if threshold and (threshold < 50 or threshold > 99) then
        findings.problem(extended(path, "auto_extend_size_threshold"), "must be from 50 to 99")
    end
    if threshold and not (mount.auto_extend_size_increment and mount.auto_extend_size_limit) then
        findings.problem(extended(path, "auto_extend_size_threshold"),
            "needs auto_extend_size_increment and auto_extend_size_limit")
    end
    if not mount.source or not mount.destination then
        findings.problem(path, "needs source and destination")
    end
end

local function check_mounts(config, default_group, findings)
    local count = {}
    for i, mount in ipairs(config.mounts or {}) do
        check_mount({ "mounts", i }, mount, findings)
        local names = mount.processes or {}
        for _, group in ipairs(#names > 0 and names or { default_group }) do
            count[group] = (count[group] or 0) + 1
            if count[group] == 2 then
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
        local sources = 0
        for _, name in ipairs { "local_path", "secret_name", "raw_value" } do
            sources = sources + (file[name] and 1 or 0)
        end
        if sources > 1 then
            findings.problem({ "files", i },
                "needs one of local_path, secret_name and raw_value")
        end
    end
end

local function check_statics(config, findings)
    for i, entry in ipairs(config.statics or {}) do
        if not entry.guest_path or not entry.url_prefix then
            findings.problem({ "statics", i }, "needs guest_path and url_prefix")
        end
    end
    if #(config.statics or {}) > 10 then
        findings.problem({ "statics" }, "more than 10 entries")
    end
end

local function check_test_machines(list, path, findings)
    for i, entry in ipairs(list or {}) do
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
    check_mounts(config, default_group, findings)
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
