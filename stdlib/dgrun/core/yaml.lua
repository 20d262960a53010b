-- Reads what a person wrote in YAML: strict keys, and for whatever is wrong its file and line.
-- A value is known by its keys from the top of the file: {"environments", "prod", "crons", 1}.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local opt = require "host.opt"
local positions = require "dgrun.core.positions"
local yaml = require "host.yaml"

local M = {}

---@class dgrun.environment_reader
local Reader = {}
Reader.__index = Reader

function Reader:refuse(keys, message, hint)
    local line = positions.line(self.position, keys) or 1
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

---@param keys (string|integer)[]
---@param key string|integer
local function below(keys, key)
    local deeper = { unpack(keys) }
    deeper[#deeper + 1] = key
    return deeper
end

local function is_map(value)
    return type(value) == "table" and #value == 0
end

---@param known? table<string, any> keys that it may have; any when absent
---@param required? string[]
function Reader:map(value, keys, known, required)
    if not is_map(value) then
        self:refuse(keys, named(keys) .. " must be a mapping of keys to values")
    end
    local null = yaml.null
    for key, item in pairs(value) do
        local ok, e = pcall(check.known, key, known or value, named(keys) .. " has no key", "x")
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

function Reader:boolean(value, keys)
    if value ~= nil and type(value) ~= "boolean" then
        self:refuse(keys, named(keys) .. " must be true or false")
    end
    return value
end

---A command line: a program and its arguments, each a string of its own. No shell reads it.
---@return string[]?
function Reader:words(value, keys)
    if value == nil then
        return nil
    elseif type(value) == "string" then
        self:refuse(keys, named(keys) .. " must be a list of words", "Write [program, argument]; "
            .. "no shell splits the command.")
    end
    for i, word in ipairs(self:list(value, keys)) do
        self:string(word, below(keys, i))
    end
    if #value == 0 then
        self:refuse(keys, named(keys) .. " must name a program")
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
    local nearest = opt.nearest(value, choices)
    self:refuse(keys, ("%s must be %s, not '%s'"):format(named(keys),
        format.list(choices, "or"), value),
        nearest and ("Did you mean '%s'?"):format(nearest))
end

function Reader:secret_name(name, keys)
    if type(name) ~= "string" or not name:match("^[%a_][%w_]*$") then
        self:refuse(keys, ("%s: '%s' is not a valid secret name"):format(named(keys),
            tostring(name)), "Names contain letters, digits, and underscores.")
    end
end

M.named, M.below, M.is_map = named, below, is_map

---@param file string for messages
---@param text string of the file
---@return any value
---@return dgrun.environment_reader
function M.read(file, text)
    local value, position = check(yaml.decode(text, { source = file, positions = true }))
    return value, setmetatable({ file = file, position = position }, Reader)
end

return M
