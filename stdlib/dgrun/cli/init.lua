-- The command line of dgrun: dgrun WORD [inputs]. A word is a built-in command, a path, or the
-- name of a script.
local builtins = require "dgrun.cli.builtins"
local context = require "dgrun.run.context"
local err = require "dgrun.core.err"
local exit_status = require "dgrun.cli.exit_status"
local fs = require "host.fs"
local plain = require "dgrun.ui.plain"
local secret = require "host.secret"

local M = {}

local function change_directory(directory)
    local ok, e = fs.chdir(directory)
    if not ok then
        err.raise { code = "input.invalid", msg = "-C: " .. e.msg }
    end
end

---Seals well-known secrets. They are removed from the environment before anything runs, so that no
---child process inherits them, and they are masked in all output.
local function seal_environment()
    for _, name in ipairs { "FLY_ACCESS_TOKEN", "FLY_API_TOKEN", "DGRUN_STORE" } do
        secret.from_env(name)
    end
end

---@param line dgrun.cli.arguments
---@return integer # exit status
local function run_builtin(word, line)
    local action, input = builtins.commands[word], {}
    if not action.usage then
        action, input = require("dgrun.cli.inputs").read_builtin(word, line)
    end
    local run = action.run
    if type(run) == "string" then
        local name, key = run:match "^(%l+)%.([%l_]+)$"
        run = require("dgrun.cli." .. name)[key]
    end
    return run(input, line) or 0
end

local function dispatch(argv)
    seal_environment()
    local line = require("dgrun.cli.arguments").parse(argv)
    if line.directory then
        change_directory(line.directory)
    end
    local word = line.word
    if line.version then
        word = "version"
    elseif line.help then
        if word and word ~= "help" then
            table.insert(line.rest, 1, word)
        end
        word = "help"
    elseif not word and not line.code then
        require("dgrun.cli.help").overview("err")
        return 2
    end
    if not line.code and builtins.commands[word] then
        return run_builtin(word, line)
    end
    return require("dgrun.cli.execute").run(line)
end

---@param argv string[] the arguments after the program's name
---@return integer # exit status
function M.main(argv)
    local ok, status = xpcall(dispatch, context.explained, argv)
    if ok then
        return status
    end
    local tracing = false
    for _, token in ipairs(argv) do
        tracing = tracing or token == "--trace"
    end
    plain.complain(status, tracing)
    return exit_status.of(status)
end

return M
