-- dgrun help, dgrun help NAME
local log = require "host.log"

local M = {}

local overview = [[
dgrun runs deploy pipelines written in Lua.

  dgrun NAME|FILE [--input value …]   run a script: by name from the nearest scripts/, or a file
  dgrun plan NAME|FILE [--input …]    what would it do? Nothing is changed
  dgrun list                          the scripts here, with their inputs
  dgrun help [NAME]                   this text; or a script and its inputs
  dgrun history                       the runs so far
  dgrun show [RUN]                    one run, step by step; the last one
  dgrun resume [RUN]                  go on with a run that was interrupted; the last one
  dgrun lock list|hold|release        who holds which group; freeze one, with a reason
  dgrun sandbox [--port N]            serve a local Fly until interrupted
  dgrun -e 'CODE' [argument …]        run a line of Lua
  dgrun completion SHELL              a script that completes words in bash, zsh or fish
  dgrun version

Options, before or after the word:
  --sandbox   use a local Fly instead of the real one; its state is kept in .dgrun/sandbox
  --trace     show a traceback with an error
  -C DIR      work in this directory
  -h, --help  this text; behind a name, that script's

Runs are kept in .dgrun/state.db, or in the PostgreSQL that DGRUN_STORE names.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 refused by a check,
4 the group is busy, frozen or lost, 5 superseded by a newer run,
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
    list = "dgrun list\n\nThe scripts of the nearest scripts/, with their inputs.\n",
    plan = [[
dgrun plan NAME|FILE [--input value …]

Runs a script with every change blocked and lists the changes it would make: + create,
~ update, - destroy, ! run.
]],
    history = [[
dgrun history [--limit N] [--script NAME] [--status STATUS] [--since 2d] [--here] [--json]

The runs that the store knows, newest first: 20 unless --limit says otherwise.
--status is one of running, waiting, done, failed, cancelled, killed, superseded.
--here leaves out runs of other folders; --json prints one object a line.
]],
    show = [[
dgrun show [RUN] [--json]

What a run did: its steps with their times, its changes with before and after, its error.
RUN is an id, or the beginning or the end of one. Without it: the last run.
]],
    resume = [[
dgrun resume [RUN] [--force]

Goes on with a run that was killed, cancelled or failed. Steps that were finished return what
they returned; the one that was interrupted runs again: what is done already is found and left
alone. Without RUN: the last interrupted one of this directory.

It is refused when the repository or the script is not what the run began with; --force goes on
all the same, and says which steps differ.
]],
    lock = [[
dgrun lock list [--json]
dgrun lock hold GROUP --reason TEXT
dgrun lock release GROUP [--force]

Runs of one group, such as those that deploy one app, go on one at a time. list tells who holds
a group and who waits. hold freezes a group: no run begins until it is released. release ends
that; with --force it takes the group away from the run that holds it, which then stops before
its next change.
]],
    completion = [[
dgrun completion bash|zsh|fish

Prints a script for the shell that completes commands, scripts, their inputs, environments, and
ids and names of machines. For bash: eval "$(dgrun completion bash)" in ~/.bashrc.
]],
    complete = "dgrun complete -- WORD...\n\nWhat the last word may become; shells ask that.\n",
    version = "dgrun version\n\nThe version of dgrun.\n",
}

local function described(called, description, face)
    local usage = require "dgrun.cli.usage"
    local lines = { ("%s: %s"):format(called, description), "", "  " .. usage.line(called, face) }
    local rows = usage.rows(face)
    if #rows > 0 then
        lines[#lines + 1] = ""
    end
    for _, line in ipairs(require("dgrun.format").columns(rows, "  ")) do
        lines[#lines + 1] = line
    end
    return table.concat(lines, "\n") .. "\n"
end

local function actions(script, command)
    local usage = require "dgrun.cli.usage"
    local rows = {}
    for i, name in ipairs(command.names) do
        local action = command.actions[name]
        rows[i] = { usage.words(("%s %s"):format(script.name, name), action), action.description }
    end
    return ("%s: %s\n\n%s\n\n%sdgrun help %s ACTION tells the inputs of one.\n"):format(
        script.name, command.description,
        table.concat(require("dgrun.format").columns(rows, "  "), "\n"),
        command.default and ("Without an action: %s. "):format(command.default) or "", script.name)
end

---@param action? string of a command
local function describe(word, action)
    local scripts = require "dgrun.cli.scripts"
    local script = scripts.find(word)
    scripts.load(script)
    if not scripts.declares(script) then
        local summary = require("dgrun.cli.list").comment(script.text)
        return ("%s: %s\n\nA plain script, %s: it gets its arguments as they are.\n")
            :format(script.name, summary or "no description", script.path)
    end
    require("host.gate").close()
    local value = scripts.declaration(script, { names_only = true })
    if require("dgrun.pipeline").is(value) then
        return described(script.name, value.description, value)
    elseif not require("dgrun.command").is(value) then
        return ("%s: a plain script, %s\n"):format(script.name, script.path)
    elseif value.actions[""] then
        return described(script.name, value.description, value.actions[""])
    elseif not action then
        return actions(script, value)
    end
    require("dgrun.check").known(action, value.actions,
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
    elseif require("dgrun.cli").commands[word] and not (word == "plan" and arguments.rest[2]) then
        log.out(command_help[word])
    else
        local at = word == "plan" and 2 or 1
        log.out(describe(arguments.rest[at], arguments.rest[at + 1]))
    end
    return 0
end

return M
