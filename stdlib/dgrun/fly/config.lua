-- A fly.toml: found, read, brought to its present form, checked. What a machine gets of it is
-- machine_config.lua.
local check = require "dgrun.core.check"
local config_check = require "dgrun.fly.config_check"
local config_patch = require "dgrun.fly.config_patch"
local copy = require("dgrun.core.table").copy
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local machine_config = require "dgrun.fly.machine_config"
local path_of = require "dgrun.core.path"
local positions = require "dgrun.core.positions"
local yaml = require "host.yaml"

local M = {}

---@class dgrun.fly.config
---@field app? string
---@field primary_region? string
---@field path string
---@field dir string folder of the file
---@field build table
---@field deploy table
---@field env table<string, string>
---@field processes table<string, string> group → command
---@field definition table the file's content in its present form, for the release
---@field warnings string[] what has no effect, or not the wanted one

local FILE_LIMIT = 1024 * 1024
local names = { "fly.toml", "fly.json", "fly.yaml" }

---What a key is called in a file of an older form.
local older_names = { vm = { "compute", "computes" }, mounts = { "mount" },
    metrics = { "metric" }, ["build-target"] = { "build_target" } }

---Text to value and position.
local decoders = {
    json = function(text, path)
        local ok, data = pcall(json.decode, text, path)
        local problem = ok and json.laxity(text)
        if not ok or problem then
            err.raise { code = "fly.config", op = "fly.config",
                msg = problem and ("%s: %s"):format(path, problem) or data.msg }
        end
        -- Nearly all JSON is YAML; the rest goes without lines.
        local value, position = yaml.decode(text, { positions = true })
        return data, value and position or nil
    end,
    yaml = function(text, path)
        local data, position = check(yaml.decode(text, { source = path, typed = true,
            positions = true }))
        return data ~= yaml.null and data or {}, position
    end,
    toml = function(text, path)
        return check(require("host.toml").decode(text, { source = path, typed = true,
            positions = true }))
    end,
}

---The file of a path: the path itself, or what lies in the folder.
local function file_of(path)
    local stat = fs.stat(path)
    if not stat or stat.type ~= "directory" then
        return path
    end
    for _, name in ipairs(names) do
        if fs.exists(path / name) then
            return path / name
        end
    end
    err.raise { code = "fly.config", op = "fly.config",
        msg = ("%s has no %s"):format(path, format.list(names, "or")) }
end

---The process groups, sorted; one called app when there is no [processes].
---@param config {processes: table<string, string>}
---@return string[]
function M.groups(config)
    return machine_config.groups(config)
end

---@return string # `app`, or the first group by name
function M.default_group(config)
    return machine_config.default_group(config)
end

local function raise_problems(problems)
    err.raise {
        code = "fly.config", op = "fly.config", problems = problems,
        msg = table.concat(problems, "\n"),
        hint = #problems > 1 and ("Correct these %d problems."):format(#problems)
            or "Correct this problem.",
    }
end

---@class dgrun.fly.config.source
---@field path string
---@field dir string where the files lie that it names
---@field kind? "toml"|"json"|"yaml" "json"
---@field position? dgrun.position

---The configuration of decoded data.
---@param data table with fly.toml's keys
---@param source dgrun.fly.config.source
---@return dgrun.fly.config
function M.of_definition(data, source)
    local findings = config_check.findings(function(keys)
        return positions.line(source.position, keys, older_names)
    end, source.path)
    local function raise_if_any()
        local problems = findings.problems()
        if #problems > 0 then
            raise_problems(problems)
        end
    end
    data = config_patch.patch(data, { kind = source.kind or "json", findings = findings })
    data = config_check.types(data, findings)
    raise_if_any()
    local groups = {}
    for _, name in ipairs(M.groups(data)) do
        groups[name] = true
    end
    config_check.rules(data, groups, M.default_group(data), findings)
    local config = copy(data)
    config.definition, config.path, config.dir = data, source.path, source.dir
    for _, name in ipairs { "build", "deploy", "processes", "experimental", "services", "checks",
        "vm", "restart", "metrics", "statics", "mounts", "files", "machine_checks", "env" } do
        config[name] = config[name] or {}
    end
    raise_if_any()
    machine_config.check(config, findings)
    raise_if_any()
    config.warnings = findings.warnings()
    return config
end

---The configuration of a text.
---@param text string
---@param source dgrun.fly.config.source `kind` is that of the text
---@return dgrun.fly.config
function M.of_text(text, source)
    if text:sub(1, 3) == "\239\187\191" and source.kind ~= "yaml" then
        err.raise { code = "fly.config", op = "fly.config", msg = source.path .. ": begins with a "
            .. "byte order mark, which flyctl does not read" }
    end
    local data, position = decoders[source.kind](text, source.path)
    if type(data) ~= "table" or #data > 0 or getmetatable(data) then
        err.raise { code = "fly.config", op = "fly.config", msg = source.path .. ": the value is "
            .. "not a table" }
    end
    return M.of_definition(data, { path = source.path, dir = source.dir, kind = source.kind,
        position = position })
end

---@param path string a file, or a folder with fly.toml, fly.json or fly.yaml
---@return dgrun.fly.config
function M.load(path)
    path = file_of(tostring(path))
    local text, e = fs.read(path, { limit = FILE_LIMIT })
    if not text then
        e.hint = "Check that the checkout contains the configuration file; see `config` in "
            .. "environments.yaml."
        err.raise(e)
    end
    local suffix = path:match("%.(%a+)$")
    return M.of_text(text, { path = path, dir = path_of.dirname(path),
        kind = decoders[suffix or ""] and suffix or "toml" })
end

---The machine configuration of a process group: machine_config.lua.
---@param config dgrun.fly.config
---@param group string
---@param existing? table what the machine has; some of it is kept
---@return table
function M.machine(config, group, existing)
    return machine_config.of(config, group, existing)
end

---Where the app can be reached: docs/fly/fly-toml.md, section 8.
---@param config dgrun.fly.config
---@param app string
---@return string?
function M.public_url(config, app)
    local host = app .. ".fly.dev"
    if config.http_service and config.http_service.internal_port then
        return ("https://%s/"):format(host)
    end
    local plain, tls = {}, {}
    for _, service in ipairs(config.services) do
        for _, port in ipairs(service.ports or {}) do
            local has = {}
            for _, handler in ipairs(port.handlers or {}) do
                has[handler] = true
            end
            if has.http and port.port then
                table.insert(has.tls and tls or plain, port.port)
            end
        end
    end
    table.sort(plain)
    table.sort(tls)
    for _, port in ipairs(tls) do
        if port == 443 then
            return ("https://%s/"):format(host)
        end
    end
    for _, port in ipairs(plain) do
        if port == 80 then
            return ("http://%s/"):format(host)
        end
    end
    return tls[1] and ("https://%s:%d/"):format(host, tls[1])
        or (plain[1] and ("http://%s:%d/"):format(host, plain[1])) or nil
end

local function needs_own_address(port)
    local handlers = table.concat(port.handlers or {}, ",")
    return (port.port ~= 80 and port.port ~= 443)
        or (port.port == 80 and handlers ~= "http")
        or (port.port == 443 and handlers ~= "http,tls" and handlers ~= "tls,http")
end

---What kind of address a first deploy needs: docs/fly/fly-toml.md, section 8.
---@param config dgrun.fly.config
---@return "shared"|"dedicated"
function M.ip_kind(config)
    for _, service in ipairs(config.services) do
        if (service.protocol or ""):lower() == "udp" then
            return "dedicated"
        end
        for _, port in ipairs(service.ports or {}) do
            if needs_own_address(port) then
                return "dedicated"
            end
        end
    end
    return "shared"
end

return M
