-- The command line of dgrun: dgrun WORD [inputs]. A word is a command of the list below, a path
-- or the name of a script. Each command is a module with `run(arguments) → exit status`.
local err = require "dgrun.core.err"
local fs = require "host.fs"
local host_task = require "host.task"
local secret = require "host.secret"

local M = {}

---Command words, each a module dgrun.cli.WORD. They win over scripts of the same name.
M.commands = { complete = true, completion = true, help = true, history = true, list = true,
    lock = true, plan = true, resume = true, sandbox = true, show = true, version = true }

-- What the person gave could not be right: a command line, a ref, a file that was written by hand.
local bad_input = {
    "input", "script.syntax", "pipeline.invalid", "command.invalid", "environment",
    "secrets.missing", "secrets.invalid", "secrets.undeclared_setting", "yaml", "toml", "dotenv",
    "git.unknown_ref", "git.invalid_ref", "git.ambiguous_ref", "git.not_a_commit", "fly.config",
    "fly.invalid_image",
}

local function is_bad_input(e)
    for _, code in ipairs(bad_input) do
        if err.is(e, code) then
            return true
        end
    end
    return false
end

---Exit status of an error, by its code.
---@param e dgrun.err
---@return integer
function M.status(e)
    if is_bad_input(e) then
        return 2
    elseif err.is(e, "refused") or (e.code or ""):match("%.refused$") then
        return 3
    elseif err.is(e, "lock") then
        return 4
    elseif err.is(e, "run.superseded") then
        return 5
    elseif err.is(e, "cancelled") then
        local signal = host_task.signal()
        return signal and 128 + signal or 1
    end
    return 1
end

local function change_directory(directory)
    local ok, e = fs.chdir(directory)
    if not ok then
        err.raise { code = "input.invalid", msg = "-C: " .. e.msg }
    end
end

---What is secret by its name. It is taken out of the environment before anything runs: no child
---inherits it, and it is masked wherever it turns up.
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
    if not arguments.code and M.commands[word] then
        return require("dgrun.cli." .. word).run(arguments)
    end
    return require("dgrun.cli.execute").run(arguments)
end

---@param argv string[] behind the program's name
---@return integer # exit status
function M.main(argv)
    local ok, status = xpcall(dispatch, require("dgrun.run.context").explained, argv)
    if ok then
        return status
    end
    local tracing = false
    for _, token in ipairs(argv) do
        tracing = tracing or token == "--trace"
    end
    require("dgrun.ui.plain").complain(status, tracing)
    return M.status(status)
end

return M
