-- Reads environments.yaml: strict keys, and for whatever is wrong its file and line.
local check = require "dgrun.check"
local err = require "dgrun.err"
local path = require "dgrun.path"

local M = {}

---The column of what a line says, behind the dash of a list; nil for blank lines and comments.
local function column(line)
    if line:match("^%s*$") or line:match("^%s*#") then
        return nil
    end
    return #line:match("^%s*%-?%s*"), line:match("^%s*%-") and #line:match("^%s*") or nil
end

local function find_item(lines, from, outer, wanted)
    local count, dash_column = 0, nil
    for i = from + 1, #lines do
        local text, dash = column(lines[i])
        if text and text <= outer and not dash then
            return nil
        elseif dash and (not dash_column or dash == dash_column) then
            dash_column, count = dash, count + 1
            if count == wanted then
                return i - 1, dash
            end
        end
    end
end

local function find_key(lines, from, outer, key)
    local literal = key:gsub("%p", "%%%0")
    for i = from + 1, #lines do
        local at = column(lines[i])
        if at and at <= outer then
            return nil
        elseif at and lines[i]:sub(at + 1):match("^[\"']?" .. literal .. "[\"']?%s*:") then
            return i, at
        end
    end
end

---The line that holds the value at these keys, or the nearest one around it.
local function line_of(text, keys)
    local lines = {}
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        lines[#lines + 1] = line
    end
    local at, outer, found = 0, -1, 1
    for _, key in ipairs(keys) do
        local find = type(key) == "number" and find_item or find_key
        local line, inner = find(lines, at, outer, key)
        if not line then
            break
        end
        at, outer = line, inner
        found = type(key) == "number" and line + 1 or line
    end
    return found
end

---@class dgrun.environment_file.reader
local Reader = {}
Reader.__index = Reader

function Reader:refuse(keys, message, hint)
    local line = line_of(self.text, keys)
    err.raise {
        code = "environment.invalid", file = self.file, line = line, hint = hint,
        msg = ("%s:%d: %s"):format(self.file, line, message),
    }
end

local function named(keys)
    local text = ""
    for _, key in ipairs(keys) do
        if type(key) == "number" then
            text = ("%s[%d]"):format(text, key)
        elseif key ~= "environments" or text ~= "" then
            text = text == "" and key or text .. "." .. key
        end
    end
    return text == "" and "the file" or text
end

local function below(keys, key)
    local deeper = { unpack(keys) }
    deeper[#deeper + 1] = key
    return deeper
end

local function is_map(value)
    return type(value) == "table" and #value == 0
end

function Reader:map(value, keys, known, required)
    if not is_map(value) then
        self:refuse(keys, named(keys) .. " must be a mapping of keys to values")
    end
    local null = require("host.yaml").null
    for key, item in pairs(value) do
        local ok, e = pcall(check.known, key, known, named(keys) .. " has no key", "x")
        if not ok then
            self:refuse(below(keys, key), e.msg, e.hint)
        elseif item == null then
            value[key] = nil -- a key without a value is as good as none
        end
    end
    for _, key in ipairs(required or {}) do
        if value[key] == nil then
            self:refuse(keys, ("%s needs the key '%s'"):format(named(keys), key))
        end
    end
    return value
end

function Reader:list(value, keys)
    if value == nil then
        return {}
    elseif type(value) ~= "table" or (next(value) ~= nil and #value == 0) then
        self:refuse(keys, named(keys) .. " must be a list")
    end
    return value
end

function Reader:string(value, keys)
    if value ~= nil and (type(value) ~= "string" or value == "") then
        local hint = type(value) ~= "table" and value ~= ""
            and ('Quote it: "%s".'):format(tostring(value)) or nil
        self:refuse(keys, named(keys) .. " must be a string", hint)
    end
    return value
end

function Reader:one_of(value, keys, choices)
    self:string(value, keys)
    for _, choice in ipairs(choices) do
        if value == nil or value == choice then
            return value
        end
    end
    local nearest = require("host.opt").nearest(value, choices)
    self:refuse(keys, ("%s must be %s, not '%s'"):format(named(keys),
        require("dgrun.format").list(choices, "or"), value),
        nearest and ("Did you mean '%s'?"):format(nearest))
end

function Reader:secret_name(name, keys)
    if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") then
        self:refuse(keys, ("%s: '%s' cannot be the name of a secret"):format(named(keys),
            tostring(name)), "Names are letters, digits and underscores.")
    end
end

local kinds = { env = true, dotenv = true }

function Reader:source(value, keys)
    if value == "env" then
        return { kind = "env" }
    elseif is_map(value) and next(value) and not next(value, next(value)) then
        self:map(value, keys, kinds)
        if value.dotenv then
            return { kind = "dotenv", file = self:string(value.dotenv, below(keys, "dotenv")) }
        end
    end
    self:refuse(keys, named(keys) .. " must be env or dotenv: FILE")
end

function Reader:secrets(value, keys)
    value = value or {}
    self:map(value, keys, { sources = true, required = true, optional = true, literal = true })
    local out = { sources = {}, required = {}, optional = {}, literal = {} }
    local seen = {}
    local function once(name, at)
        self:secret_name(name, at)
        if seen[name] then
            self:refuse(at, ("%s declares %s twice"):format(named(keys), name))
        end
        seen[name] = true
    end
    for i, source in ipairs(self:list(value.sources, below(keys, "sources"))) do
        out.sources[i] = self:source(source, below(below(keys, "sources"), i))
    end
    for _, list in ipairs { "required", "optional" } do
        for i, name in ipairs(self:list(value[list], below(keys, list))) do
            once(name, below(below(keys, list), i))
            out[list][i] = name
        end
    end
    if value.literal ~= nil and not is_map(value.literal) then
        self:refuse(below(keys, "literal"), named(keys) .. ".literal must map names to strings")
    end
    for name, text in pairs(value.literal or {}) do
        local at = below(below(keys, "literal"), name)
        once(name, at)
        if type(text) ~= "string" then
            self:string(text, at)
        end
        out.literal[name] = text
    end
    return out
end

local cron_keys = { name = true, config = true, schedule = true, when_running = true }

function Reader:cron(value, keys)
    self:map(value, keys, cron_keys, { "name", "config", "schedule" })
    local out = {
        name = self:string(value.name, below(keys, "name")),
        config = self:string(value.config, below(keys, "config")),
        schedule = self:one_of(value.schedule, below(keys, "schedule"),
            { "hourly", "daily", "weekly", "monthly" }),
    }
    if value.when_running == nil then
        return out
    end
    local at = below(keys, "when_running")
    self:map(value.when_running, at, { wait = true, ["then"] = true })
    local wait = value.when_running.wait
    local seconds = wait ~= nil and require("dgrun.format").seconds(wait) or nil
    if wait ~= nil and not seconds then
        self:refuse(below(at, "wait"), ("%s.wait must be a duration such as 30m"):format(named(at)))
    end
    out.when_running = {
        wait = seconds,
        ["then"] = self:one_of(value.when_running["then"], below(at, "then"),
            { "skip", "fail", "interrupt" }),
    }
    return out
end

local environment_keys = { app = true, url = true, config = true, secrets = true, crons = true,
    probes = true }

function Reader:environment(value, keys)
    self:map(value, keys, environment_keys, { "app" })
    local out = { crons = {} }
    for _, key in ipairs { "app", "url", "config" } do
        out[key] = self:string(value[key], below(keys, key))
    end
    out.secrets = self:secrets(value.secrets, below(keys, "secrets"))
    for i, cron in ipairs(self:list(value.crons, below(keys, "crons"))) do
        out.crons[i] = self:cron(cron, below(below(keys, "crons"), i))
    end
    out.probes = require("dgrun.environment_probes").read(self, value, keys)
    return out
end

---@param file string
---@return {environments: table<string, table>, root: string} # root: the folder that holds scripts/
function M.read(file)
    local fs = require "host.fs"
    local text = check(fs.read(file, { limit = 1024 * 1024 }))
    local value = check(require("host.yaml").decode(text, { source = file }))
    local self = setmetatable({ file = file, text = text }, Reader)
    self:map(value, {}, { environments = true }, { "environments" })
    if not is_map(value.environments) then
        self:refuse({ "environments" }, "environments must map names to environments")
    end
    local environments = {}
    for name, entry in pairs(value.environments) do
        environments[name] = self:environment(entry, { "environments", name })
    end
    local folder = check(fs.absolute(path.dirname(file)))
    local root = path.basename(folder) == "scripts" and path.dirname(folder) or folder
    return { environments = environments, root = root }
end

return M
