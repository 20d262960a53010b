-- What an entry of environments.yaml says of its secrets: where values come from, and what they
-- must be.
--
-- ```yaml
-- secrets:
--   sources:
--     - env
--     - dotenv: .env.prod
--     - { age: .env.prod.age, identity: ~/.config/age/prod.txt }
--     - { command: [op, item, get, draft-prod, --format, json], at: fields, timeout: 60s }
--   required:
--     DATABASE_URL: { url: postgresql+asyncpg }
--     SECRET_KEY: { min_length: 16, not_one_of: [changeme-changeme] }
--     ENV: { one_of: [dev, stage, prod] }
--     S3_BUCKET:
--   optional: [GEMINI_API_KEY, SENTRY_DSN: { url: https }]
--   literal: { ENV: prod, LOG_LEVEL: INFO }
-- ```
--
-- **Sources** are asked in this order; the first that has a value gives it, and an empty value is
-- none. A source is not asked while those before it have everything. `dgrun secrets where prod`
-- shows what comes from where.
--
-- - `env`: the process environment. What is taken from there, children no longer inherit.
-- - `dotenv: FILE`: relative to the project, or `~/…`. `export`, comments, single and double
--   quotes, values over several lines, escapes in double quotes. Nothing is expanded or run: a
--   value with `${NAME}`, `$(…)` or a backquote is taken as it stands, and that is said unless it
--   stands in single quotes. A file that is not there has no values.
-- - `age: FILE`: such a file, encrypted. It is decrypted by `age` with `identity: FILE`, else with
--   what the variable AGE_IDENTITY holds: a key, or the name of a file. The text stays in sealed
--   memory.
-- - `command: [PROGRAM, …]`: a program that changes nothing and prints JSON, run in the project's
--   folder without a shell, in plans too: an object of names and values, or a list of objects with
--   `name`, `key` or `label`, and `value`, below the keys of `at` (`data.secrets`, or a list of
--   keys) where that is given. `timeout` is 60s unless set.
--
-- **The contract**: `required` and `optional` are lists of names or mappings of names to rules; a
-- list may mix both. A `literal` may stand beside the same name there: it is the value then, and is
-- judged too. All that is missing, breaks a rule or cannot be read, in all environments of a
-- script, is reported before the first change, by name and rule, never with a value.
--
-- environments.yaml is one YAML 1.2 document: a second one is refused, and `<<` is a key like any
-- other and so is unknown. Aliases (`*name`) work.
--
-- | rule | the value must |
-- |---|---|
-- | `url` | be a URL: of this scheme, of one in a list, or any with `true` |
-- | `one_of` | be one of these; such a value is public, and not masked in output |
-- | `not_one_of` | not be one of these |
-- | `pattern` | match as a whole: a POSIX extended regular expression, over bytes |
-- | `min_length`, `max_length` | minimum or maximum number of characters |
local format = require "dgrun.core.format"
local reader = require "dgrun.core.yaml"
local rules = require "dgrun.project.secret_rules"

local M = {}

---@class dgrun.secrets.secret_spec
---@field sources dgrun.secrets.source_entry[]
---@field required string[]
---@field optional string[]
---@field private string[] required, for the pipeline alone: no app gets them
---@field literal table<string, string>
---@field rules table<string, dgrun.secrets.rule[]> by name

---@class dgrun.secrets.source_entry
---@field kind "env"|"dotenv"|"age"|"command"
---@field file? string of dotenv and age, relative to the project
---@field identity? string of age: a file
---@field argv? string[] of command
---@field at? string[] of command: where the values stand in what it prints
---@field timeout? number of command, seconds

local below, is_map, named = reader.below, reader.is_map, reader.named

local function argv(r, value, keys)
    local hint = "No shell reads it. Write its words as a list: command: [op, item, get, prod]."
    if type(value) ~= "table" or #value == 0 then
        r:refuse(keys, named(keys) .. " must be a list of words", hint)
    end
    for i, word in ipairs(value) do
        if type(word) ~= "string" then
            r:string(word, below(keys, i))
        end
    end
    return value
end

---`at: data.secrets`, or a list where a name holds a dot.
local function place(r, value, keys)
    local list = {}
    if type(value) == "string" then
        for key in value:gmatch "[^.]+" do
            list[#list + 1] = key
        end
    elseif value ~= nil then
        for i, key in ipairs(r:list(value, keys)) do
            list[i] = type(key) == "number" and ("%d"):format(key) or r:string(key, below(keys, i))
        end
    end
    if value ~= nil and #list == 0 then
        r:refuse(keys, named(keys) .. " must be keys such as data.secrets")
    end
    return list
end

local function seconds(r, value, keys)
    local number = value and format.seconds(value)
    if value and (not number or number == 0) then
        r:refuse(keys, named(keys) .. " must be a duration such as 30s")
    end
    return number
end

local read_source = {
    dotenv = function(r, value, keys)
        r:map(value, keys, { dotenv = true }, { "dotenv" })
        return { kind = "dotenv", file = r:string(value.dotenv, below(keys, "dotenv")) }
    end,
    age = function(r, value, keys)
        r:map(value, keys, { age = true, identity = true }, { "age" })
        return { kind = "age", file = r:string(value.age, below(keys, "age")),
            identity = r:string(value.identity, below(keys, "identity")) }
    end,
    command = function(r, value, keys)
        r:map(value, keys, { command = true, at = true, timeout = true }, { "command" })
        return { kind = "command", argv = argv(r, value.command, below(keys, "command")),
            at = place(r, value.at, below(keys, "at")),
            timeout = seconds(r, value.timeout, below(keys, "timeout")) }
    end,
}

local function source(r, value, keys)
    if value == "env" then
        return { kind = "env" }
    elseif is_map(value) and next(value) then
        for kind, read in pairs(read_source) do
            if value[kind] ~= nil then
                return read(r, value, keys)
            end
        end
        local known = { at = true, identity = true, timeout = true }
        for kind in pairs(read_source) do
            known[kind] = true
        end
        r:map(value, keys, known)
    end
    r:refuse(keys, named(keys)
        .. " must be env or dotenv: FILE, or age: FILE, or command: [PROGRAM, …]")
end

---The names of required or optional with the places where they stand, and their rules.
---@return {name: string, keys: table, rules: any}[]
local function names(r, value, keys)
    local found = {}
    local function add(name, rule, at)
        found[#found + 1] = { name = name, keys = at, rules = rule }
    end
    if is_map(value) and next(value) then
        for name, rule in pairs(value) do
            add(name, rule, below(keys, name))
        end
        table.sort(found, function(a, b) return a.name < b.name end)
        return found
    elseif value ~= nil and type(value) ~= "table" then
        r:refuse(keys, named(keys) .. " must be a list of names or a mapping of names to rules")
    end
    for i, item in ipairs(value or {}) do
        local at = below(keys, i)
        local name = is_map(item) and next(item)
        if name and next(item, name) == nil then
            add(name, item[name], below(at, name))
        elseif is_map(item) then
            r:refuse(at, named(at) .. " must be a name, or one name with its rules",
                "- NAME: { min_length: 16 }")
        else
            add(item, nil, at)
        end
    end
    return found
end

local function literals(r, value, keys)
    local out = {}
    if value ~= nil and not is_map(value) then
        r:refuse(keys, named(keys) .. " must map names to strings")
    end
    for name, text in pairs(value or {}) do
        local at = below(keys, name)
        r:secret_name(name, at)
        if type(text) ~= "string" then
            r:string(text, at)
        end
        out[name] = text
    end
    return out
end

---@param r dgrun.environment_reader
---@param value any of the file
---@param keys (string|integer)[]
---@return dgrun.secrets.secret_spec
function M.read(r, value, keys)
    value = value or {}
    r:map(value, keys, { sources = true, required = true, optional = true, literal = true,
        private = true })
    local out = { sources = {}, required = {}, optional = {}, private = {}, rules = {} }
    for i, one in ipairs(r:list(value.sources, below(keys, "sources"))) do
        out.sources[i] = source(r, one, below(below(keys, "sources"), i))
    end
    local seen = {}
    for _, list in ipairs { "required", "optional", "private" } do
        for i, one in ipairs(names(r, value[list], below(keys, list))) do
            r:secret_name(one.name, one.keys)
            if seen[one.name] then
                r:refuse(one.keys, ("%s declares %s twice"):format(named(keys), one.name))
            end
            seen[one.name] = true
            out[list][i] = one.name
            out.rules[one.name] = one.rules ~= nil and rules.read(r, one.rules, one.keys) or nil
        end
    end
    out.literal = literals(r, value.literal, below(keys, "literal"))
    return out
end

---The names that an environment declares, sorted.
---@param declared dgrun.secrets.secret_spec
---@return string[]
function M.names(declared)
    local list, seen = {}, {}
    local function add(name)
        if not seen[name] then
            seen[name] = true
            list[#list + 1] = name
        end
    end
    for _, some in ipairs { declared.required, declared.optional, declared.private } do
        for _, name in ipairs(some) do
            add(name)
        end
    end
    for name in pairs(declared.literal) do
        add(name)
    end
    table.sort(list)
    return list
end

return M
