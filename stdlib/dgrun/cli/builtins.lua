-- The built-in commands: their descriptions, arguments and options, as of `dg.command`. Parsing,
-- help and completion use these declarations; the code of a command is loaded when it runs.
local log = require "host.log"
local version = require "dgrun.core.version"

---@class dgrun.cli.builtin
---@field description string one line
---@field details? string for `dgrun help NAME`
---@field arguments? dgrun.command.argument[]
---@field inputs? table<string, dgrun.input>
---@field actions? table<string, dgrun.cli.builtin> instead of `run`
---@field usage? string for a command that reads its arguments itself: what follows its name
---@field hidden? boolean for programs; not offered to people
---@field run? string|fun(input: table, line: dgrun.cli.arguments): integer? function of a module of
---  dgrun.cli: "runs.show". It returns the exit status; 0 when it returns nothing.

local M = {}

local json = { type = "boolean", help = "print JSON" }

---@type table<string, dgrun.cli.builtin>
M.commands = {
    plan = {
        description = "show what a script would change, without changing anything",
        usage = "NAME|FILE [--input …]", run = "execute.plan",
        details = [[
Runs a script with every change blocked and lists the changes it would make: + create,
~ update, - destroy, ! run.
]],
    },
    list = {
        description = "list the scripts in the nearest scripts/, with their inputs",
        run = "help.list",
    },
    help = {
        description = "show this text, or describe a script or a command",
        usage = "[NAME [ACTION]]", run = "help.run",
    },
    history = {
        description = "list past runs, newest first",
        inputs = {
            limit = { type = "integer", default = 20, help = "number of runs" },
            script = { help = "only runs of this script" },
            status = { help = "only runs with this status: running, waiting, done, failed, "
                .. "cancelled, killed, or superseded" },
            since = { type = "seconds", help = "only runs that started in the last 2h or 3d" },
            here = { type = "boolean", help = "only runs in this project's folder" },
            json = { type = "boolean", help = "print one JSON object per line" },
        },
        run = "runs.history",
    },
    show = {
        description = "show a run step by step",
        arguments = { { name = "run", complete = "run",
            help = "a run id, or the beginning or end of an id (default: the last run)" } },
        inputs = { json = json },
        run = "runs.show",
        details = "Shows the steps of a run with their times, its changes with before and after, "
            .. "and its error.\n",
    },
    resume = {
        description = "continue an interrupted run",
        arguments = { { name = "run", complete = "run",
            help = "a run id (default: the last interrupted run in this directory)" } },
        inputs = { force = { type = "boolean",
            help = "continue although the repository or the script has changed" } },
        run = "resume.run",
        details = [[
Continues a run that failed or was killed or cancelled. Finished steps are skipped and return
their recorded results. The interrupted step runs again; changes that it already made are
detected and not repeated.

resume refuses when the repository or the script has changed since the run began; --force
continues anyway and reports which steps differ.
]],
    },
    lock = {
        description = "show who holds which group; freeze or release a group",
        actions = {
            list = {
                description = "show who holds each group, and which runs wait",
                inputs = { json = json }, run = "runs.list_locks",
            },
            hold = {
                description = "freeze a group: no run begins until the group is released",
                arguments = { { name = "group", complete = "app", required = true,
                    help = "the name of the group, usually the app" } },
                inputs = { reason = { required = true, help = "shown to waiting runs" } },
                run = "runs.hold",
            },
            release = {
                description = "unfreeze a group, or take it away from a run",
                arguments = { { name = "group", complete = "app", required = true,
                    help = "the name of the group; see dgrun lock list" } },
                inputs = { force = { type = "boolean", help = "take the group away from the run "
                    .. "that holds it; the run stops before its next change" } },
                run = "runs.release",
            },
        },
        details = "Runs in the same group, such as deploys of one app, take turns.\n",
    },
    sandbox = {
        description = "serve a local Fly until interrupted; show or stop it",
        arguments = { { name = "action", choices = { "status", "stop" },
            help = "status: does one run, where, and since when? stop: end it" } },
        inputs = {
            port = { type = "integer", help = "the port (default: that of the last one if it is "
                .. "free)" },
            background = { type = "boolean", help = "end after 15 idle minutes: what --sandbox "
                .. "starts" },
        },
        run = "sandbox.run",
        details = [[
Serves a local Fly on 127.0.0.1 until interrupted, and prints the environment variables that
point a client at it. Its state is kept in .dgrun/sandbox. It takes the place of a local Fly in
the background; of those in the foreground there is one.

Commands with --sandbox start a local Fly in the background if none runs. It ends after 15 minutes
in which no command uses it, and when its folder is removed. Machines that ran are started again
with the next local Fly.
]],
    },
    completion = {
        description = "print the completion script for a shell",
        arguments = { { name = "shell", required = true, choices = { "bash", "fish", "zsh" } } },
        run = "completion.script",
        details = [[
Prints a shell script that completes commands, scripts, their inputs, environments, and machine
ids and names. For bash, add eval "$(dgrun completion bash)" to ~/.bashrc.
]],
    },
    complete = {
        description = "list completions of the last word; completion scripts call this command",
        usage = "-- WORD...", run = "complete.run", hidden = true,
    },
    version = {
        description = "print the version",
        usage = "", run = function() log.out("dgrun " .. version .. "\n") end,
    },
}

---In the order of `dgrun help`.
M.names = { "plan", "list", "help", "history", "show", "resume", "lock", "sandbox", "completion",
    "version", "complete" }

return M
