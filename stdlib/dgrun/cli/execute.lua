-- Runs or plans a script, a line of code, or a file, and reports the outcome.
local api = require "dgrun.fly.api"
local command_of = require "dgrun.project.command"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local folder = require "dgrun.run.folder"
local gate = require "host.gate"
local globals = require "dgrun.core.globals"
local inputs = require "dgrun.cli.inputs"
local lease = require "dgrun.run.lock"
local library = require "dgrun.cli.library"
local outcome = require "dgrun.cli.outcome"
local pipeline_of = require "dgrun.project.pipeline"
local tables = require "dgrun.core.table"
local target = require "dgrun.project.target"
local run = require "dgrun.run.execute"
local scripts = require "dgrun.cli.scripts"
local task = require "dgrun.core.task"
local ui = require "dgrun.ui.plain"

local M = {}

local function script_of(arguments)
    if arguments.code then
        local chunk, reason = loadstring(arguments.code, "=-e")
        if not chunk then
            err.raise { code = "script.syntax", msg = reason }
        end
        local root = scripts.root()
        library.use(root)
        return { name = "-e", path = "-e", folder = ".", root = root, chunk = chunk, text = "",
            source = "" }
    end
    local script = scripts.find(arguments.word)
    scripts.load(script)
    return script
end

---The local Fly for --sandbox, in the background. It has the apps of the project.
---@param script {root: string, folder: string}
---@param read_only? boolean a copy of it in this process, which changes no file and stops with the
---  task
function M.use_sandbox(script, read_only)
    local dir, apps = script.root / ".dgrun/sandbox", environment.apps(script.folder)
    local sandbox
    if read_only then
        sandbox = require("sandbox").start { dir = dir, persist = false, apps = apps }
    else
        folder.make(script.root)
        sandbox = require("sandbox.background").find { dir = dir, apps = apps }
    end
    task.defer(sandbox.close)
    api.use {
        machines_url = sandbox.url, api_url = sandbox.url, uiex_url = sandbox.url,
        token = sandbox.token, sandbox = true,
        site = sandbox.site,
    }
end

---The Fly of a run.
local function use_fly(script, r)
    if r.sandbox then
        M.use_sandbox(script, r.plan)
    else
        api.use_environment()
    end
end

---The description of a run that waiting runs show.
local function reason_of(r)
    local given = ui.inputs(r.input)
    local text = given == "" and r.name or ("%s %s"):format(r.name, given)
    local server, repository, id = os.getenv "GITHUB_SERVER_URL", os.getenv "GITHUB_REPOSITORY",
        os.getenv "GITHUB_RUN_ID"
    if server and repository and id then
        text = ("%s, %s/%s/actions/runs/%s"):format(text, server, repository, id)
    end
    return text
end

---Takes the group of a pipeline. Groups of the local Fly are separate from those of the real Fly.
---@param input table as `run` gets it
local function take_group(r, pipeline, input)
    local concurrency = pipeline.concurrency
    if not concurrency or r.plan then
        return
    end
    local group = pipeline_of.group(pipeline, input)
    lease.take(r, {
        name = lease.group(group, r.sandbox),
        when_busy = concurrency.when_busy, reason = reason_of(r),
    })
end

---The pipeline or command that a script declares; nil for a plain script.
---@param script dgrun.cli.script
---@return dgrun.pipeline|dgrun.command?
local function declared(script)
    if not scripts.declares(script) then
        environment.look_from(script.folder)
        return nil
    end
    local value = scripts.declaration(script)
    if not pipeline_of.is(value)
        and not command_of.is(value) then
        err.raise {
            code = "pipeline.invalid", where = script.path,
            msg = script.path .. " calls dg.pipeline but does not return its result",
            hint = "Write: return dg.pipeline { … }",
        }
    end
    return value
end

---The inputs for `run` of an action or a pipeline, with targets resolved.
local function with_places(action, input)
    local resolved = tables.merged(input)
    for _, argument in ipairs(action.arguments) do
        local value = input[argument.name]
        if argument.complete == "target" and input.app then
            local app = target.of_app(input.app)
            resolved[argument.name] = argument.many and { app } or app
        elseif argument.complete == "target" and value ~= nil then
            resolved[argument.name] = argument.many and target.list(value) or target.find(value)
        end
        local found = argument.complete == "target" and resolved[argument.name] or {}
        for _, one in ipairs(argument.many and found or { found }) do
            if one.environment then
                environment.mask(one.environment)
            end
        end
    end
    return resolved
end

---Handles the result of a plain script: nothing, a pipeline created elsewhere, or a value for
---`dgrun -e`.
local function run_returned(value, r, arguments)
    if pipeline_of.is(value) then
        r.input = inputs.parse(value, arguments.rest, r.name)
        environment.resolve_all()
        return value.run(with_places(value, r.input))
    end
    return value
end

---@class dgrun.cli.execution
---@field script dgrun.cli.script
---@field arguments dgrun.cli.arguments
---@field plan boolean
---@field past? dgrun.past
---@field read_only? boolean

---Runs `body` as a run of a script.
---@param x dgrun.cli.execution
---@param input table?
---@param body fun(r: dgrun.run): any
---@return dgrun.run
local function carry_out(x, input, body)
    local script = x.script
    return run.execute({
        name = script.name, script = script.path, root = script.root, input = input,
        plan = x.plan, sandbox = x.arguments.sandbox, source = script.source,
        arguments = x.arguments.rest, past = x.past,
        journal = not x.read_only, observer = (x.plan or x.read_only) and ui.quiet()
            or ui.observer(),
    }, body)
end

---Looks up the secrets. If the script calls preflight, which will report problems with them, the
---run continues until preflight, or until its first change or use of a secret, which raises the
---error.
local function look_up_secrets(x, r)
    local later = not x.past and scripts.has_preflight(x.script)
    environment.resolve_all { later = later }
    r.before_change = later and function()
        local e = environment.problem()
        if e then
            err.raise(e)
        end
    end or nil
end

---@param rest string[] its arguments
---@param called string "prod_deploy", "review_app deploy"
local function run_pipeline(x, pipeline, rest, called)
    local input = inputs.parse(pipeline, rest, called)
    local resolved = with_places(pipeline, input)
    local r = carry_out(x, input, function(r)
        look_up_secrets(x, r)
        if not x.plan then
            ui.title(r, called)
        end
        -- A run that cannot change anything neither waits for other runs nor supersedes them.
        if not environment.problem() then
            take_group(r, pipeline, resolved)
        end
        use_fly(x.script, r)
        return pipeline.run(resolved)
    end)
    return outcome.of_run(r, x.arguments, false)
end

local function run_command(x, command)
    local arguments, script = x.arguments, x.script
    if command.guard then
        local ok, e = pcall(command.guard, arguments.rest, arguments.dashes)
        if not ok then
            return outcome.of_refusal(err.object(e), arguments)
        end
    end
    local action, rest = command_of.action(command, arguments.rest,
        script.name)
    local dashes = arguments.dashes and arguments.dashes - (#arguments.rest - #rest)
    local called = action.name == "" and script.name or script.name .. " " .. action.name
    if action.pipeline then
        return run_pipeline(x, action.pipeline, rest, called)
    end
    local found = {}
    local input = inputs.parse(action, rest, called, dashes)
    environment.look_from(script.folder)
    local resolved = with_places(action, input)
    x.read_only = action.read_only
    local r = carry_out(x, input, function(r)
        use_fly(script, r)
        found.data, found.problem = action.run(resolved)
    end)
    return outcome.of_command(r, arguments, action, found)
end

local function run_plain(x)
    local result
    local r = carry_out(x, nil, function(r)
        use_fly(x.script, r)
        result = run_returned(x.script.chunk(unpack(x.arguments.rest)), r, x.arguments)
        return result
    end)
    if x.arguments.code and r.status == "done" and result ~= nil then
        print(result)
    end
    return outcome.of_run(r, x.arguments, #r.effects == 0 and #r.steps == 0)
end

---@param arguments dgrun.cli.arguments
---@param opts? {plan?: boolean, past?: dgrun.past}
---@return integer # exit status
function M.run(arguments, opts)
    local x = { script = script_of(arguments), arguments = arguments,
        plan = opts and opts.plan or false, past = opts and opts.past }
    globals.set_arg(x.script.path, arguments.rest)
    environment.seal(x.script.folder)
    if x.plan then
        gate.close()
    end
    local value = declared(x.script)
    if not value then
        return run_plain(x)
    elseif command_of.is(value) then
        return run_command(x, value)
    end
    return run_pipeline(x, value, arguments.rest, x.script.name)
end

---dgrun plan: runs a script and records its effects instead of applying them.
---@param _ table
---@param line dgrun.cli.arguments
---@return integer # exit status
function M.plan(_, line)
    line.word = table.remove(line.rest, 1)
    if not line.word then
        err.raise { code = "input.missing", msg = "dgrun plan needs the name of a script or a file",
            hint = "dgrun list lists the scripts." }
    end
    line.dashes = line.dashes and line.dashes - 1
    return M.run(line, { plan = true })
end

return M
