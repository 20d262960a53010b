-- Arguments of a built-in command: --limit 20, --json, and positional arguments. Others are refused
-- with the most similar known argument.
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local opt = require "host.opt"

local M = {}

local kinds = {
    text = function(text) return text end,
    number = function(text) return text:match("^%d+$") and tonumber(text) end,
    seconds = function(text) return format.seconds(text) end,
}

local must_be = { text = "text", number = "a whole number", seconds = "a time such as 2h or 3d" }

local function names_of(spec)
    local names = {}
    for name in pairs(spec) do
        names[#names + 1] = "--" .. name
    end
    table.sort(names)
    return names
end

local function unknown(command, token, spec)
    local names = names_of(spec)
    local nearest = opt.nearest(token, names)
    err.raise { code = "input.unknown", msg = ("dgrun %s: unknown argument '%s'"):format(command,
        token), hint = nearest and ("Did you mean %s?"):format(nearest)
            or ("dgrun help %s lists its arguments."):format(command) }
end

---@param command string for messages
---@param rest string[]
---@param spec table<string, "flag"|"text"|"number"|"seconds"> by name, without dashes
---@param words? integer maximum number of positional arguments
---@return table<string, any> options
---@return string[] words
function M.parse(command, rest, spec, words)
    local options, plain, at = {}, {}, 1
    while rest[at] do
        local token = rest[at]
        local name, value = token:match("^%-%-([%w-]+)=(.*)$")
        name = name or token:match("^%-%-([%w-]+)$")
        local kind = name and spec[name]
        if not name and token:sub(1, 1) ~= "-" and #plain < (words or 0) then
            plain[#plain + 1] = token
        elseif not kind or (kind == "flag" and value) then
            unknown(command, token, spec)
        elseif kind == "flag" then
            options[name] = true
        else
            if not value then
                at = at + 1
                value = rest[at] or ""
            end
            options[name] = value ~= "" and kinds[kind](value) or err.raise {
                code = "input.invalid", msg = ("dgrun %s: --%s must be %s, not '%s'"):format(
                    command, name, must_be[kind], value) }
        end
        at = at + 1
    end
    return options, plain
end

return M
