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

---@class dgrun.cli.option
---@field flag string
---@field short? string
---@field name string of the field
---@field value? string placeholder of its value
---@field help? string

---dgrun's own options.
---@type dgrun.cli.option[]
M.options = {
    { flag = "--sandbox", name = "sandbox",
        help = "use a local Fly instead of the real one; its state is kept in .dgrun/sandbox" },
    { flag = "--trace", name = "trace", help = "show a traceback with an error" },
    { flag = "-C", name = "directory", value = "DIR", help = "work in this directory" },
    { flag = "-e", name = "code", value = "CODE" },
    { flag = "--help", short = "-h", name = "help",
        help = "show help: of dgrun, or of the named script or command" },
    { flag = "--version", name = "version" },
}

local by_flag, known = {}, {}
for _, option in ipairs(M.options) do
    for _, flag in ipairs { option.flag, option.short } do
        by_flag[flag], known[#known + 1] = option, flag
    end
end

local function unknown_option(token)
    local nearest = opt.nearest(token, known)
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
        local begun, option = out.word or out.code, by_flag[token]
        if token == "--" then
            out.dashes = #out.rest
            for i = at + 1, #argv do
                table.insert(out.rest, argv[i])
            end
            break
        elseif option and not option.value then
            out[option.name] = true
        elseif option and not (begun and token == "-e") then
            local value = argv[at + 1]
            if not value then
                err.raise { code = "input.missing", msg = token .. " needs a value",
                    hint = "See dgrun --help." }
            end
            out[option.name] = value
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
