-- dgrun resume [RUN]: continues an interrupted run.
local command = require "dgrun.project.command"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local execute = require "dgrun.cli.execute"
local folders = require "dgrun.run.folders"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local git = require "dgrun.git"
local history = require "dgrun.run.history"
local journal = require "dgrun.run.journal"
local lease = require "dgrun.run.lock"
local library = require "dgrun.cli.library"
local log = require "host.log"
local process = require "dgrun.core.process"
local replay = require "dgrun.run.replay"
local rows = require "dgrun.run.store_rows"
local scripts = require "dgrun.cli.scripts"
local tickets = require "dgrun.run.tickets"

local M = {}

---@type dgrun.restorers
local restorers = {
    files = {
        ["git.export"] = function(file)
            git.restore { git_dir = file.git_dir, commit = file.commit }
        end,
    },
    secrets = function(name)
        local found = {}
        for _, env in ipairs(environment.used()) do
            found[#found + 1] = rawget(env.secrets, name)
        end
        return found
    end,
}

local function nothing()
    err.raise { code = "input.nothing_to_resume",
        msg = "no interrupted run in this directory",
        hint = "dgrun history lists the runs; dgrun resume RUN continues one of them." }
end

---Refuses a run that is finished, superseded, or still running.
local function check_status(row, force)
    local status = row.status
    if status == "done" then
        err.raise { code = "input.finished_run",
            msg = ("%s has finished; there is nothing to resume"):format(row.id),
            hint = ("dgrun show %s shows what it did."):format(row.id) }
    elseif status == "superseded" and not force then
        err.raise { code = "refused.superseded",
            msg = ("%s was superseded by a newer run"):format(row.id),
            hint = "Resuming it would bring back an older state. To resume anyway: --force" }
    elseif status ~= "running" and status ~= "waiting" then
        return
    elseif row.sure then
        err.raise { code = "lock.running",
            msg = ("%s is still running: %s"):format(row.id, lease.whose(row)),
            hint = "Wait for it to end." }
    elseif not force then
        err.raise { code = "lock.running",
            msg = ("%s may still be running: %s, which cannot be seen from here"):format(row.id,
                lease.whose(row)),
            hint = ("If you are sure that it has ended: dgrun resume %s --force"):format(row.id) }
    end
end

local function check_children(row)
    local child = process.children(row.id)[1]
    if child then
        err.raise { code = "lock.running",
            msg = ("%s was killed, but its child process %d is still running: %s"):format(row.id,
                child.pid, child.command),
            hint = "Wait for the child process to end, then resume the run." }
    end
end

---Differences of the modules in scripts/lib/, one per line, for people.
local function module_changes(before, after)
    local lines = {}
    for path, text in pairs(after) do
        if before[path] ~= text then
            lines[#lines + 1] = ("%s is %s"):format(path, before[path] and "different" or "new")
        end
    end
    for path in pairs(before) do
        lines[#lines + 1] = not after[path] and path .. " is gone" or nil
    end
    table.sort(lines)
    return lines
end

---What has changed since the run started; nil if nothing has.
local function changes(row, script, root)
    local head, lines = journal.head_of(root), {}
    if head ~= row.commit_id then
        lines[1] = ("the repository is at %s; it was at %s"):format(
            head and head:sub(1, 12) or "nothing", row.commit_id and row.commit_id:sub(1, 12)
                or "nothing")
    end
    local source = rows.redacted(script.source)
    if row.source ~= source then
        local before, modules_before = nil, {}
        if row.source then
            before, modules_before = library.split(row.source)
        end
        local after, modules_after = library.split(source)
        for _, line in ipairs(before ~= after and replay.differences(before, after) or {}) do
            lines[#lines + 1] = ("%s: %s"):format(script.path, line)
        end
        for _, line in ipairs(row.source and module_changes(modules_before, modules_after) or {}) do
            lines[#lines + 1] = line
        end
    end
    return lines[1] and lines
end

local function check_changes(row, script, root, force)
    local lines = changes(row, script, root)
    if not lines then
        return
    end
    local text = "  " .. table.concat(lines, "\n  ")
    if not force then
        err.raise { code = "refused.changed",
            msg = ("the repository or the script has changed since %s "
                .. "began\n%s"):format(row.id, text),
            hint = ("Run the script again from the start, or resume anyway: dgrun resume %s "
                .. "--force"):format(
                row.id) }
    end
    log.err(log.clean("Changed since the run began:\n" .. text .. "\n"))
end

local function script_of(row, root)
    if row.script == "-e" or not row.script then
        err.raise { code = "input.not_resumable",
            msg = ("%s ran a line of code (-e), which is not recorded"):format(row.id) }
    elseif not row.arguments then
        err.raise { code = "input.not_resumable",
            msg = ("an argument of %s contained a secret, which is not recorded"):format(row.id),
            hint = ("Start the script again with its arguments: dgrun %s … (changes that are "
                .. "already made are not repeated)"):format(row.name) }
    end
    local path = row.script:sub(1, 1) == "/" and row.script or (row.root or root) / row.script
    if not fs.exists(path) then
        path = root / row.script -- the project may have moved
    end
    if not fs.exists(path) and row.script:find("/", 1, true) then
        err.raise { code = "input.not_resumable",
            msg = ("the script %s of %s no longer exists"):format(row.script, row.id),
            hint = ("Restore the file, then: dgrun resume %s"):format(row.id) }
    end
    local script = scripts.find(fs.exists(path) and path or row.script)
    scripts.load(script)
    local value = scripts.declares(script) and scripts.declaration(script)
    if command.is(value) and not command.action(value, row.arguments, row.name).pipeline then
        err.raise { code = "input.not_resumable",
            msg = ("%s is a command; it has no steps to resume"):format(row.name),
            hint = "Run it again: dgrun " .. format.shell_words {
                row.name, unpack(row.arguments) } }
    end
    return script
end

---@param input {run?: string, force: boolean}
---@param line dgrun.cli.arguments
---@return integer
function M.run(input, line)
    local root = scripts.root()
    local store = history.open(root, { write = true, sandbox = line.sandbox })
    local ok, past, script = pcall(function()
        local row = input.run and history.find(store, input.run)
            or history.interrupted(store, root) or nothing()
        check_status(row, input.force)
        check_children(row)
        local script = script_of(row, root)
        environment.seal(script.folder)
        check_changes(row, script, script.root, input.force)
        if not journal.claim(store, row) then
            err.raise { code = "lock.running",
                msg = ("someone else has just resumed %s"):format(row.id) }
        end
        tickets.forget_run(store, row.id)
        local loaded = replay.load(store, row, restorers)
        loaded.dir = folders.taken_over(store, row)
        return loaded, script
    end)
    if not ok then
        store:close()
        error(past, 0)
    end
    return execute.run({
        word = script.path, rest = past.run.arguments, sandbox = past.run.sandbox == 1,
        trace = line.trace, name = past.run.name,
    }, { past = past })
end

return M
