-- Two environments side by side: the secrets that each declares and has on its app, and which have
-- the same value on both, judged by fingerprints. The fingerprint is that of the value that dgrun
-- set on the app, unless someone changed it since; otherwise that of the value in the sources of
-- the environment, if they can be read here.
local check = require "dgrun.core.check"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local record = require "dgrun.secrets.fingerprints"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"
local write = require "dgrun.secrets.write"

local M = {}

---@class dgrun.secrets.compare.options
---@field left dgrun.environment
---@field right dgrun.environment

---@class dgrun.secrets.side
---@field declared? "required"|"optional"|"literal"
---@field present boolean on the app
---@field basis? "app"|"sources" where the value is known from; nil when unknown

---@class dgrun.secrets.pair
---@field name string
---@field left dgrun.secrets.side
---@field right dgrun.secrets.side
---@field value? "same"|"different"|"unknown" nil when only one side has a value
---@field mistake? string why the same value should not be on both

---@class dgrun.secrets.comparison
---@field left {name: string, app: string, unread?: string} unread: why its sources cannot be read
---@field right {name: string, app: string, unread?: string}
---@field names dgrun.secrets.pair[] sorted by name
---@field declared_only {left: string[], right: string[]} declared on one side only
---@field present_only {left: string[], right: string[]} on the app of one side only
---@field same string[]
---@field different string[]
---@field unknown string[] on both sides, but the value of at least one side is unknown
---@field mistakes string[] names in `same` whose values should differ

-- Secrets that should differ between environments, by the end of the name.
local private = {
    { "DATABASE_URL$", "both use the same database" },
    { "DB_URL$", "both use the same database" },
    { "POSTGRES_URL$", "both use the same database" },
    { "REDIS_URL$", "both use the same Redis" },
    { "SECRET_KEY$", "a session signed by one is valid on the other" },
    { "SECRET_KEY_BASE$", "a session signed by one is valid on the other" },
    { "JWT_SECRET$", "a token issued by one is valid on the other" },
    { "SESSION_SECRET$", "a session created by one is valid on the other" },
    { "ENCRYPTION_KEY$", "each can decrypt the other's data" },
    { "PASSWORD$", "a leaked password gives access to both" },
}

---Why both sides should not have the same value; nil when that may be intended.
---@param name string
---@return string?
local function mistake(name)
    for _, rule in ipairs(private) do
        if name:find(rule[1]) then
            return rule[2]
        end
    end
end

local function open_side(env)
    local side = { name = env.name, app = env.app, declared = environment.declared(env.secrets),
        there = write.read(env.app) }
    local ok, e = pcall(environment.complete, env.secrets)
    if not ok then
        if err.is(e, "cancelled") then
            err.raise(e)
        end
        side.unread = err.object(e).msg
    end
    side.values = ok and env.secrets or {}
    return side
end

---@return string? fingerprint
---@return "app"|"sources"|nil basis
local function fingerprint_of(side, name, key)
    local there = side.there[name]
    local known = there and record.on_app(side.app, name, there.digest)
    if known then
        return known, "app"
    end
    local value = rawget(side.values, name)
    if value ~= nil then
        return record.fingerprint(key, name, value), "sources"
    end
end

local function pair_of(left, right, name, key)
    local a, left_basis = fingerprint_of(left, name, key)
    local b, right_basis = fingerprint_of(right, name, key)
    local function side(of, basis)
        return { declared = of.declared[name], present = of.there[name] ~= nil, basis = basis }
    end
    local pair = { name = name, left = side(left, left_basis), right = side(right, right_basis) }
    local on_left = pair.left.present or a ~= nil
    local on_right = pair.right.present or b ~= nil
    if on_left and on_right then
        pair.value = not (a and b) and "unknown" or a == b and "same" or "different"
    end
    -- Literals are not secret.
    if pair.value == "same" and pair.left.declared ~= "literal"
            and pair.right.declared ~= "literal" then
        pair.mistake = mistake(name)
    end
    return pair
end

local function lists_of(pairs_of)
    local array = json.array
    local lists = { same = array {}, different = array {}, unknown = array {}, mistakes = array {},
        declared_only = { left = array {}, right = array {} },
        present_only = { left = array {}, right = array {} } }
    local function one_sided(list, left, right, name)
        if (left and true or false) ~= (right and true or false) then
            table.insert(left and list.left or list.right, name)
        end
    end
    for _, pair in ipairs(pairs_of) do
        one_sided(lists.declared_only, pair.left.declared, pair.right.declared, pair.name)
        one_sided(lists.present_only, pair.left.present, pair.right.present, pair.name)
        if pair.value then
            table.insert(lists[pair.value], pair.name)
        end
        if pair.mistake then
            table.insert(lists.mistakes, pair.name)
        end
    end
    return lists
end

---Compares by names and fingerprints, never by values. Reads only.
---@param opts dgrun.secrets.compare.options
---@return dgrun.secrets.comparison
function M.of(opts)
    check.options(opts, { left = "table", right = "table" }, "secrets.compare")
    for _, word in ipairs { "left", "right" } do
        if not environment.declared(rawget(opts[word], "secrets") or {}) then
            err.raise { code = "input.invalid", op = "secrets.compare",
                msg = ("secrets.compare: '%s' is not an environment"):format(word),
                hint = "Pass an environment, such as dg.environment \"prod\"." }
        end
    end
    if opts.left.name == opts.right.name then
        err.raise { code = "input.invalid", op = "secrets.compare",
            msg = ("secrets.compare: left and right are both %s"):format(opts.left.name) }
    end
    local left, right = unpack(task.all {
        function() return open_side(opts.left) end, function() return open_side(opts.right) end })
    local key = record.key()
    local list = json.array {}
    for i, name in ipairs(tables.keys(left.declared, left.there, right.declared, right.there)) do
        list[i] = pair_of(left, right, name, key)
    end
    local comparison = lists_of(list)
    comparison.names = list
    comparison.left = { name = left.name, app = left.app, unread = left.unread }
    comparison.right = { name = right.name, app = right.app, unread = right.unread }
    return comparison
end

return M
