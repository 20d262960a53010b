-- dgrun help, dgrun help NAME
local check = require "dgrun.core.check"
local command_of = require "dgrun.project.command"
local format = require "dgrun.core.format"
local gate = require "host.gate"
local list = require "dgrun.cli.list"
local log = require "host.log"
local pipeline = require "dgrun.project.pipeline"
local scripts = require "dgrun.cli.scripts"
local usage = require "dgrun.cli.usage"
local command_words = require "dgrun.cli.words"

local M = {}

local overview = [[
dgrun runs deploy pipelines written in Lua.

  dgrun NAME|FILE [--input value …]   run a script: a name from the nearest scripts/, or a file
  dgrun plan NAME|FILE [--input …]    show what a run would change, without changing anything
  dgrun list                          list the scripts here, with their inputs
  dgrun help [NAME]                   show this text, or a script and its inputs
  dgrun history                       list past runs
  dgrun show [RUN]                    show a run step by step (default: the last run)
  dgrun resume [RUN]                  continue an interrupted run (default: the last one)
  dgrun lock list|hold|release        show who holds which group; freeze or release a group
  dgrun sandbox [--port N]            serve a local Fly until interrupted
  dgrun -e 'CODE' [argument …]        run a line of Lua
  dgrun completion SHELL              print the completion script for bash, zsh, or fish
  dgrun version                       print the version

Options, before or after the command:
  --sandbox   use a local Fly instead of the real one; its state is kept in .dgrun/sandbox
  --trace     show a traceback with an error
  -C DIR      work in this directory
  -h, --help  show this text; after a script name, that script's help

Runs are recorded in .dgrun/state.db, or in the PostgreSQL database that DGRUN_STORE names.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 refused by a check,
4 the group is busy, frozen, or lost, 5 superseded by a newer run,
130 or 143 cancelled by SIGINT or SIGTERM.
]]

---@param stream "out"|"err"
function M.usage(stream)
    log[stream](overview)
end

local command_help = {
    sandbox = [[
dgrun sandbox [--port N]

Serves a local Fly on 127.0.0.1 until interrupted, and prints the environment variables that
point a client at it. Its state is kept in .dgrun/sandbox.
]],
    list = "dgrun list\n\nLists the scripts in the nearest scripts/, with their inputs.\n",
    plan = [[
dgrun plan NAME|FILE [--input value …]

Runs a script with every change blocked and lists the changes it would make: + create,
~ update, - destroy, ! run.
]],
    history = [[
dgrun history [--limit N] [--script NAME] [--status STATUS] [--since 2d] [--here] [--json]

Lists the runs in the store, newest first: 20, or --limit.
--status is one of running, waiting, done, failed, cancelled, killed, superseded.
--here leaves out runs in other folders; --json prints one object per line.
]],
    show = [[
dgrun show [RUN] [--json]

Shows what a run did: its steps with their times, its changes with before and after, its error.
RUN is a run id, or the beginning or end of an id. Default: the last run.
]],
    resume = [[
dgrun resume [RUN] [--force]

Continues a run that failed or was killed or cancelled. Finished steps are skipped and return
their recorded results. The interrupted step runs again; changes that it already made are
detected and not repeated. Default: the last interrupted run in this directory.

resume refuses when the repository or the script has changed since the run began; --force
continues anyway and reports which steps differ.
]],
    lock = [[
dgrun lock list [--json]
dgrun lock hold GROUP --reason TEXT
dgrun lock release GROUP [--force]

Runs in the same group, such as deploys of one app, take turns. list shows who holds a group and
who waits. hold freezes a group: no run begins until the group is released. release unfreezes
the group; with --force it takes the group away from the run that holds it, and that run stops
before its next change.
]],
    completion = [[
dgrun completion bash|zsh|fish

Prints a shell script that completes commands, scripts, their inputs, environments, and machine
ids and names. For bash, add eval "$(dgrun completion bash)" to ~/.bashrc.
]],
    complete = "dgrun complete -- WORD...\n\nLists completions of the last word. "
        .. "Completion scripts call this command.\n",
    version = "dgrun version\n\nPrints the version of dgrun.\n",
}

local function described(called, description, face)
    local lines = { ("%s: %s"):format(called, description), "", "  " .. usage.line(called, face) }
    local rows = usage.rows(face)
    if #rows > 0 then
        lines[#lines + 1] = ""
    end
    for _, line in ipairs(format.columns(rows, "  ")) do
        lines[#lines + 1] = line
    end
    return table.concat(lines, "\n") .. "\n"
end

local function actions(script, command)
    local rows = {}
    for i, name in ipairs(command.names) do
        local action = command.actions[name]
        rows[i] = { usage.words(("%s %s"):format(script.name, name), action), action.description }
    end
    return ("%s: %s\n\n%s\n\n%sdgrun help %s ACTION shows the inputs of an action.\n"):format(
        script.name, command.description,
        table.concat(format.columns(rows, "  "), "\n"),
        command.default and ("Without an action: %s. "):format(command.default) or "", script.name)
end

---@param action? string of a command
local function describe(word, action)
    local script = scripts.find(word)
    scripts.load(script)
    if not scripts.declares(script) then
        local summary = list.comment(script.text)
        return ("%s: %s\n\nA plain script, %s: it receives its arguments unchanged.\n")
            :format(script.name, summary or "no description", script.path)
    end
    gate.close()
    local value = scripts.declaration(script, { names_only = true })
    if pipeline.is(value) then
        return described(script.name, value.description, value)
    elseif not command_of.is(value) then
        return ("%s: a plain script, %s\n"):format(script.name, script.path)
    elseif value.actions[""] then
        return described(script.name, value.description, value.actions[""])
    elseif not action then
        return actions(script, value)
    end
    check.known(action, value.actions,
        ("dgrun %s has no action"):format(script.name), "input.unknown")
    return described(script.name .. " " .. action, value.actions[action].description,
        value.actions[action])
end

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local word = arguments.rest[1]
    if not word or word == "help" then
        M.usage("out")
    elseif command_words.commands[word] and not (word == "plan" and arguments.rest[2]) then
        log.out(command_help[word])
    else
        local at = word == "plan" and 2 or 1
        log.out(describe(arguments.rest[at], arguments.rest[at + 1]))
    end
    return 0
end

return M
