-- Runs or plans one script, a line of code or a file, and tells how it went.
local err = require "dgrun.err"
local scripts = require "dgrun.cli.scripts"
local task = require "dgrun.task"

local M = {}

local function script_of(arguments)
    if arguments.code then
        local chunk, reason = loadstring(arguments.code, "=-e")
        if not chunk then
            err.raise { code = "script.syntax", msg = reason }
        end
        return {
            name = "-e", path = "-e", folder = ".", root = scripts.root(), chunk = chunk, text = "",
        }
    end
    local script = scripts.find(arguments.word)
    scripts.load(script)
    return script
end

---The local Fly, for --sandbox: it knows the apps of the project and ends with the run.
local function use_sandbox(script, r)
    if not r.plan then
        require("dgrun.folder").make(script.root)
    end
    local sandbox = require("sandbox").start {
        dir = script.root / ".dgrun/sandbox", persist = not r.plan,
        apps = require("dgrun.environment").apps(script.folder),
    }
    task.defer(sandbox.close)
    require("dgrun.fly.api").use {
        machines_url = sandbox.url, api_url = sandbox.url, uiex_url = sandbox.url,
        token = sandbox.token, sandbox = true,
        site = sandbox.site,
    }
end

local telling = { "commit", "release", "image" }
local rank = { commit = 1, release = 2, image = 3, url = 5, run = 6 }

---What the summary tells beside the effects: what the run said or its steps found, the sites.
local function facts(r)
    local run = require "dgrun.run"
    for _, step in ipairs(r.steps) do
        for _, name in ipairs(telling) do
            local value = type(step.result) == "table" and step.result[name]
            if type(value) == "table" and value.version then
                value = "v" .. tostring(value.version)
            end
            if type(value) == "string" and not run.find_fact(r, name) then
                run.add_fact(r, name, value)
            end
        end
    end
    local seen = {}
    for _, env in ipairs(require("dgrun.environment").used()) do
        if env.url and not seen[env.url] then
            seen[env.url] = true
            run.add_fact(r, "url", env.url .. (r.sandbox and " (in the sandbox)" or ""))
        end
    end
    if #r.effects > 0 or #r.steps > 0 then
        run.add_fact(r, "run", r.id)
    end
    table.sort(r.facts, function(a, b)
        local left, right = rank[a.name] or 4, rank[b.name] or 4
        return left < right or left == right and a.name < b.name
    end)
    return r.facts
end

---The command line that runs this again.
local function again(arguments, plan)
    local parts = { "dgrun" }
    local function add(text)
        parts[#parts + 1] = text:match("^[%w_.,/:@=+-]+$") and text
            or "'" .. text:gsub("'", "'\\''") .. "'"
    end
    if plan then
        add "plan"
    end
    if arguments.code then
        add "-e"
    end
    add(arguments.code or arguments.word)
    for _, text in ipairs(arguments.rest) do
        add(text)
    end
    if arguments.sandbox then
        add "--sandbox"
    end
    return table.concat(parts, " ")
end

---What a run is, for those who wait for it.
local function reason_of(r)
    local inputs = require("dgrun.ui.plain").inputs(r.input)
    local text = inputs == "" and r.name or ("%s %s"):format(r.name, inputs)
    local server, repository, id = os.getenv "GITHUB_SERVER_URL", os.getenv "GITHUB_REPOSITORY",
        os.getenv "GITHUB_RUN_ID"
    if server and repository and id then
        text = ("%s, %s/%s/actions/runs/%s"):format(text, server, repository, id)
    end
    return text
end

---The local Fly of a project is another world than the real one.
local function take_group(r, pipeline)
    local concurrency = pipeline.concurrency
    if not concurrency or r.plan then
        return
    end
    local group = require("dgrun.pipeline").group(pipeline, r.input)
    require("dgrun.lease").take(r, {
        name = r.sandbox and "sandbox/" .. group or group,
        when_busy = concurrency.when_busy, reason = reason_of(r),
    })
end

local function report(r, arguments, quiet)
    local ui = require "dgrun.ui.plain"
    if r.status == "done" then
        if r.plan then
            local log = require "host.log"
            log.out(log.clean(require("dgrun.plan").render(r)))
        elseif not quiet then
            ui.summary(r, facts(r))
        end
        return 0
    end
    facts(r)
    ui.failure(r, {
        signal = require("host.task").signal(), trace = arguments.trace,
        again = r.status == "cancelled" and require("dgrun.store").known(r)
            and "Go on where it stopped: dgrun resume " .. r.id
            or (r.plan and "" or "Run it again (what is done is not done twice): ")
                .. again(arguments, r.plan),
    })
    return require("dgrun.cli").status(r.error)
end

---@param script dgrun.cli.script
---@return dgrun.pipeline? pipeline nil for a plain script
---@return table? input
local function declared(script, arguments)
    if not scripts.declares(script) then
        require("dgrun.environment").look_from(script.folder)
        return nil
    end
    local value = scripts.declaration(script)
    if not require("dgrun.pipeline").is(value) then
        err.raise {
            code = "pipeline.invalid", where = script.path,
            msg = script.path .. " calls dg.pipeline, but does not return what it gives",
            hint = "Write: return dg.pipeline { … }",
        }
    end
    return value, require("dgrun.cli.inputs").parse(value, arguments.rest, script.name)
end

---What a plain script returned: nothing, or a pipeline made elsewhere, or a value for `dgrun -e`.
local function run_returned(value, r, arguments)
    if require("dgrun.pipeline").is(value) then
        r.input = require("dgrun.cli.inputs").parse(value, arguments.rest, r.name)
        require("dgrun.environment").resolve_all()
        return value.run(r.input)
    end
    return value
end

---@param arguments dgrun.cli.arguments
---@param opts? {plan?: boolean, past?: dgrun.past}
---@return integer # exit status
function M.run(arguments, opts)
    local plan = opts and opts.plan or false
    local script = script_of(arguments)
    if plan then
        require("host.gate").close()
    end
    local ui = require "dgrun.ui.plain"
    local pipeline, input = declared(script, arguments)
    local quiet = pipeline == nil
    local r = require("dgrun.run").execute({
        name = script.name, script = script.path, root = script.root, input = input, plan = plan,
        sandbox = arguments.sandbox, source = script.text, arguments = arguments.rest,
        past = opts and opts.past,
        observer = plan and ui.quiet() or ui.observer(),
    }, function(r)
        if pipeline then
            require("dgrun.environment").resolve_all()
        end
        if pipeline and not plan then
            ui.title(r)
        end
        if pipeline then
            take_group(r, pipeline)
        end
        if arguments.sandbox then
            use_sandbox(script, r)
        end
        if not pipeline then
            return run_returned(script.chunk(unpack(arguments.rest)), r, arguments)
        end
        return pipeline.run(input)
    end)
    return report(r, arguments, quiet and #r.effects == 0 and #r.steps == 0)
end

return M
