-- Child processes for scripts. A child is its list of arguments; no shell reads it.
--   proc.run { argv = { "npm", "ci" }, cwd = source.dir }
--   local version = proc.run { argv = { "uv", "--version" }, read_only = true }.stdout
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local host = require "host.proc"
local secret = require "host.secret"
local task = require "dgrun.core.task"

local M = {}

---@class dgrun.proc.options
---@field argv string[] the program, found in PATH, and its arguments
---@field cwd? string
---@field env? table<string, string|host.secret.value|false> changes; false removes. `env.secrets`
---  of an environment passes all of its secrets
---@field clean_env? boolean the environment is `env` alone
---@field stdin? string|host.secret.value nothing: /dev/null
---@field timeout? number seconds
---@field grace? number seconds between the polite and the firm end, default 5
---@field limit? integer bytes of each output stream, default 16 MiB
---@field read_only? boolean it changes nothing outside, so a plan runs it too
---@field expect? integer|integer[]|"any" the exit statuses that are no error, default 0
---@field creates? string path, relative to `cwd`: when it exists, nothing is run
---@field changed? fun(result: table): boolean did it change anything? Without it, it did
---@field summary? string one line for people: what it does
---@field on_line? fun(line: string, stream: "stdout"|"stderr") gets the output while it comes

local spec = {
    argv = "table", cwd = "string?", env = "table?", clean_env = "boolean?", stdin = "value?",
    timeout = "seconds?", grace = "seconds?", limit = "integer?", read_only = "boolean?",
    expect = "any?", summary = "string?", on_line = "function?",
    creates = "string?", changed = "function?",
}

local own = { expect = true, summary = true, on_line = true, creates = true, changed = true }

local function host_options(opts)
    local result = {}
    for name, value in pairs(opts) do
        if not own[name] then
            result[name] = value
        end
    end
    result.env = opts.env and environment.complete(opts.env)
    return result
end

---The command as a person would type it, shortened.
---@param argv string[]
---@return string
function M.shown(argv)
    local words = {}
    for i, word in ipairs(argv) do
        word = tostring(word)
        words[i] = word:find("^[%w%-_./=:@%%+,]+$") and word or ("'%s'"):format(word)
    end
    return format.excerpt(table.concat(words, " "), 120)
end

local function expected(status, expect)
    if expect == "any" then
        return true
    elseif type(expect) ~= "table" then
        return status == (expect or 0)
    end
    for _, one in ipairs(expect) do
        if status == one then
            return true
        end
    end
    return false
end

local function last_lines(text, count)
    local lines = {}
    for line in (text or ""):gmatch("[^\r\n]+") do
        lines[#lines + 1] = line
        if #lines > count then
            table.remove(lines, 1)
        end
    end
    return table.concat(lines, "\n")
end

---The lines of a child, until it says no more: `for line, stream in proc.lines(child) do`.
---@param child host.proc.child
---@return fun(): string?, string?
function M.lines(child)
    return function()
        local item = check(child:read())
        if item then
            return item.line, item.stream
        end
    end
end

local function read_lines(opts)
    local options = host_options(opts)
    options.limit = nil
    local last = {}
    local child = M.spawn(options)
    for line, stream in M.lines(child) do
        last[#last + 1] = line
        if #last > 20 then
            table.remove(last, 1)
        end
        opts.on_line(line, stream)
    end
    local result = check(child:wait())
    result.last = table.concat(last, "\n")
    return result
end

local function run(opts)
    local result = opts.on_line and read_lines(opts) or check(host.run(host_options(opts)))
    if expected(result.status, opts.expect) then
        return result
    end
    local said = result.last
    if not said then
        said = last_lines(result.stderr:find("%S") and result.stderr or result.stdout, 5)
    end
    local how = result.signal and ("was ended by signal %d"):format(result.signal)
        or ("exited with status %d"):format(result.status)
    err.raise {
        code = "proc.exit_status", op = "proc.run",
        msg = ("'%s' %s%s"):format(M.shown(opts.argv), how, said ~= "" and ": " .. said or ""),
        status = result.status, signal = result.signal,
        stdout = result.stdout, stderr = result.stderr,
    }
end

---A plan refuses it too, and a run before it has begun anything.
local function check_argv(opts)
    for i, word in ipairs(opts.argv) do
        if secret.is(word) then
            err.raise { code = "input.invalid", op = "proc.run",
                msg = ("proc.run: argv[%d] is a sealed value: everyone can read a command line")
                    :format(i),
                hint = "Pass it to the program in env or on stdin." }
        end
    end
end

local function is_created(opts)
    local path = opts.creates
    return fs.exists(opts.cwd and path:sub(1, 1) ~= "/" and opts.cwd / path or path)
end

---Runs a program to its end. Where it may change something it is an effect: a plan records it
---and gives an unknown value.
---@param opts dgrun.proc.options
---@return {status: integer, signal: integer?, stdout: string, stderr: string, seconds: number}
function M.run(opts)
    check.options(opts, spec, "proc.run")
    check_argv(opts)
    local summary = opts.summary or "run " .. M.shown(opts.argv)
    if opts.creates and is_created(opts) then
        effect.note(("%s: %s exists, nothing to run"):format(summary, opts.creates))
        return { status = 0, stdout = "", stderr = "", seconds = 0 }
    end
    if opts.read_only then
        return run(opts)
    end
    local result
    local recorded = effect.write {
        kind = "proc.run",
        target = tostring(opts.argv[1]),
        summary = summary,
        name = "result of " .. tostring(opts.argv[1]),
        apply = function()
            result = run(opts)
            return { status = result.status, seconds = result.seconds }
        end,
        changed = opts.changed and function() return opts.changed(result) end,
    }
    return result or recorded
end

---Starts a program whose output is read while it runs. It lives no longer than the task that
---started it. A plan refuses it unless it is read_only.
---@param opts dgrun.proc.options without limit, expect, summary and on_line
---@return host.proc.child
function M.spawn(opts)
    local child = check(host.spawn(opts))
    task.defer(function() child:stop() end)
    return child
end

return M
