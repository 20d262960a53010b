-- Two environments side by side: which secrets each declares and has on its app, and which have the
-- same value on both, told by fingerprints. A value is known by what dgrun set on the app, as long
-- as nobody set it since; else by the sources of the environment, where they can be read here.
local check = require "dgrun.core.check"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local record = require "dgrun.secrets.fingerprints"
local state = require "dgrun.secrets.state"
local task = require "dgrun.core.task"
local write = require "dgrun.secrets.write"

local M = {}

---@class dgrun.secrets.compare.options
---@field left dgrun.environment
---@field right dgrun.environment

---@class dgrun.secrets.side
---@field declared? "required"|"optional"|"literal"
---@field present boolean on the app
---@field basis? "app"|"sources" whence the value is known; nil: it is not

---@class dgrun.secrets.pair
---@field name string
---@field left dgrun.secrets.side
---@field right dgrun.secrets.side
---@field value? "same"|"different"|"unknown" nil where only one side has one
---@field mistake? string why the same value should not be on both

---@class dgrun.secrets.comparison
---@field left {name: string, app: string, unread?: string} unread: why its sources cannot be read
---@field right {name: string, app: string, unread?: string}
---@field names dgrun.secrets.pair[] sorted by name
---@field declared_only {left: string[], right: string[]} declared on one side only
---@field present_only {left: string[], right: string[]} on the app of one side only
---@field same string[]
---@field different string[]
---@field unknown string[] on both sides, with a value that is not known on one of them
---@field mistakes string[] those of `same` that should differ

-- What should differ from environment to environment, by the end of its name.
local private = {
    { "DATABASE_URL$", "both use one database" },
    { "DB_URL$", "both use one database" },
    { "POSTGRES_URL$", "both use one database" },
    { "REDIS_URL$", "both use one Redis" },
    { "SECRET_KEY$", "what one signs, such as a session, is valid on the other" },
    { "SECRET_KEY_BASE$", "what one signs, such as a session, is valid on the other" },
    { "JWT_SECRET$", "a token of one is valid on the other" },
    { "SESSION_SECRET$", "a session of one is valid on the other" },
    { "ENCRYPTION_KEY$", "what one encrypts, the other can read" },
    { "PASSWORD$", "who knows that of one knows that of the other" },
}

---Why a value should not be on both sides; nil where that may be meant.
---@param name string
---@return string?
local function mistake(name)
    for _, one in ipairs(private) do
        if name:find(one[1]) then
            return one[2]
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
    -- A literal stands in a file that everybody reads.
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
                hint = "dg.environment \"prod\" is one." }
        end
    end
    if opts.left.name == opts.right.name then
        err.raise { code = "input.invalid", op = "secrets.compare",
            msg = ("secrets.compare: that is %s twice"):format(opts.left.name) }
    end
    local left, right = unpack(task.all {
        function() return open_side(opts.left) end, function() return open_side(opts.right) end })
    local key = record.key()
    local list = json.array {}
    for i, name in ipairs(state.names(left.declared, left.there, right.declared, right.there)) do
        list[i] = pair_of(left, right, name, key)
    end
    local comparison = lists_of(list)
    comparison.names = list
    comparison.left = { name = left.name, app = left.app, unread = left.unread }
    comparison.right = { name = right.name, app = right.app, unread = right.unread }
    return comparison
end

return M
