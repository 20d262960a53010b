-- Parses the command line: dgrun's own options, which may stand before or after the command, the
-- command, and the arguments of the script.
local err = require "dgrun.core.err"
local opt = require "host.opt"

local M = {}

---@class dgrun.cli.arguments
---@field word? string a command, the name of a script or a path
---@field rest string[] for the script
---@field dashes? integer number of arguments in `rest` before a --
---@field code? string of -e
---@field directory? string of -C
---@field sandbox? boolean
---@field trace? boolean
---@field help? boolean
---@field version? boolean

local flags = {
    ["--sandbox"] = "sandbox", ["--trace"] = "trace",
    ["--help"] = "help", ["-h"] = "help", ["--version"] = "version",
}
local with_value = { ["-C"] = "directory", ["-e"] = "code" }

local function known_options()
    local list = {}
    for _, known in ipairs { flags, with_value } do
        for name in pairs(known) do
            list[#list + 1] = name
        end
    end
    table.sort(list)
    return list
end

local function unknown_option(token)
    local nearest = opt.nearest(token, known_options())
    err.raise {
        code = "input.unknown_option",
        msg = ("unknown option %s"):format(token),
        hint = nearest and ("Did you mean %s?"):format(nearest)
            or "A script's inputs come after its name. See dgrun --help.",
    }
end

---@param argv string[]
---@return dgrun.cli.arguments
function M.parse(argv)
    local out = { rest = {} }
    local at = 1
    while argv[at] do
        local token = argv[at]
        local begun = out.word or out.code
        if token == "--" then
            out.dashes = #out.rest
            for i = at + 1, #argv do
                table.insert(out.rest, argv[i])
            end
            break
        elseif flags[token] then
            out[flags[token]] = true
        elseif with_value[token] and not (begun and token == "-e") then
            local value = argv[at + 1]
            if not value then
                err.raise { code = "input.missing", msg = token .. " needs a value",
                    hint = "See dgrun --help." }
            end
            out[with_value[token]] = value
            at = at + 1
        elseif begun then
            table.insert(out.rest, token)
        elseif token:sub(1, 1) == "-" and token ~= "-" then
            unknown_option(token)
        else
            out.word = token
        end
        at = at + 1
    end
    return out
end

return M
