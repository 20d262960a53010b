-- Lifts `nil, err` into a raised error, and checks tables of options.
local err = require "dgrun.core.err"
local opt = require "host.opt"
local secret = require "host.secret"

---@class dgrun.check
---@overload fun(value: any, e?: dgrun.err, ...): any
local M = {}

local types = {
    string = function(v) return type(v) == "string" end,
    boolean = function(v) return type(v) == "boolean" end,
    number = function(v) return type(v) == "number" end,
    integer = function(v) return type(v) == "number" and v % 1 == 0 end,
    seconds = function(v) return type(v) == "number" and v >= 0 and v < math.huge end,
    table = function(v) return type(v) == "table" end,
    ["function"] = function(v) return type(v) == "function" end,
    value = function(v) return type(v) == "string" or secret.is(v) end,
    any = function() return true end,
}

local wanted = {
    integer = "a whole number",
    seconds = "a number of seconds, 0 or more",
    value = "a string or a sealed value",
    boolean = "true or false",
}

---What an earlier effect of a plan would give fits anywhere.
local function is_unknown(value)
    local unknown = package.loaded["dgrun.core.unknown"]
    return unknown ~= nil and unknown.is(value)
end

---The sorted keys of a table.
---@return string[]
local function names_of(t)
    local names = {}
    for name in pairs(t) do
        names[#names + 1] = tostring(name)
    end
    table.sort(names)
    return names
end

---Raises for a key that `known` (name → anything) does not have, naming the nearest one.
---@param what string for the message: "git.checkout has no option"
---@param code string
function M.known(name, known, what, code)
    if known[name] ~= nil then
        return
    end
    local nearest = opt.nearest(tostring(name), names_of(known))
    err.raise {
        code = code,
        msg = ("%s '%s'"):format(what, tostring(name)),
        hint = nearest and ("Did you mean '%s'?"):format(nearest)
            or "Known values: " .. table.concat(names_of(known), ", ") .. ".",
    }
end

local function split(kind)
    return kind:match("^(%a+)(%??)$")
end

---The quick look: options are checked at every call, and nearly always right.
local function all_fit(opts, spec)
    for name in pairs(opts) do
        if spec[name] == nil then
            return false
        end
    end
    for name, wanted_kind in pairs(spec) do
        local kind, optional = split(wanted_kind)
        local value = opts[name]
        if value == nil and optional == "" or value ~= nil and not types[kind](value) then
            return false
        end
    end
    return true
end

---Raises for the first option, by name, that is wrong.
local function explain(opts, spec, op)
    for name in pairs(opts) do
        M.known(name, spec, op .. " has no option", "input.unknown_option")
    end
    for _, name in ipairs(names_of(spec)) do
        local kind, optional = split(spec[name])
        local value = opts[name]
        if value == nil and optional == "" then
            err.raise {
                code = "input.missing_option", op = op,
                msg = ("%s needs the option '%s'"):format(op, name),
            }
        elseif value ~= nil and not types[kind](value) and not is_unknown(value) then
            err.raise {
                code = "input.invalid", op = op,
                msg = ("%s: option '%s' must be %s, not %s"):format(op, name,
                    wanted[kind] or "a " .. kind, type(value)),
            }
        end
    end
end

---Checks a table of options against {name = "string", other = "integer?"}.
---@param opts table
---@param spec table<string, string> a type, with ? when it may be absent
---@param op string for messages: "git.checkout"
---@return table opts
function M.options(opts, spec, op)
    if type(opts) ~= "table" then
        err.raise {
            code = "input.invalid", op = op,
            msg = ("%s takes a table of options, not %s"):format(op, type(opts)),
        }
    end
    if not all_fit(opts, spec) then
        explain(opts, spec, op)
    end
    return opts
end

return setmetatable(M, {
    __call = function(_, value, e, ...)
        if not value and e ~= nil then
            err.raise(e)
        end
        return value, e, ...
    end,
})
