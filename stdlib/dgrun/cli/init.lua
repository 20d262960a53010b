-- The command line of dgrun: dgrun WORD [inputs]. A word is a built-in command, a path, or the
-- name of a script. Each command is a module with `run(arguments) → exit status`.
local context = require "dgrun.run.context"
local err = require "dgrun.core.err"
local exit_status = require "dgrun.cli.exit_status"
local fs = require "host.fs"
local plain = require "dgrun.ui.plain"
local secret = require "host.secret"
local words = require "dgrun.cli.words"

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

local function dispatch(argv)
    seal_environment()
    local arguments = require("dgrun.cli.arguments").parse(argv)
    if arguments.directory then
        change_directory(arguments.directory)
    end
    local word = arguments.word
    if arguments.version then
        word = "version"
    elseif arguments.help then
        if word and word ~= "help" then
            table.insert(arguments.rest, 1, word)
        end
        word = "help"
    elseif not word and not arguments.code then
        require("dgrun.cli.help").usage("err")
        return 2
    end
    if not arguments.code and words.commands[word] then
        return require("dgrun.cli." .. word).run(arguments)
    end
    return require("dgrun.cli.execute").run(arguments)
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
