-- Runs a builder's program: its output streams into the run's log, its end is an error that tells.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local proc = require "dgrun.proc"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"

local M = {}

local LINES_KEPT = 2000
local LINES_TOLD = 15

---The program in PATH, or nil.
---@param name string
---@return string?
function M.find(name)
    for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
        local stat = fs.stat(folder / name)
        if stat and stat.type ~= "directory" then
            return folder / name
        end
    end
end

---A private folder for as long as `f` runs.
---@param f fun(dir: string): any
---@return any
function M.with_folder(f)
    local dir = check(fs.temp_dir "dgrun-build")
    local ok, result = pcall(f, dir)
    task.shield(fs.remove, dir, { recursive = true })
    if not ok then
        error(result, 0)
    end
    return result
end

---@class dgrun.fly.builder.command
---@field builder string its name, for messages
---@field argv string[] never with a secret in it
---@field env? table<string, string|userdata|false>
---@field cwd? string
---@field stdin? userdata|string
---@field quiet? boolean not into the log
---@field hint? string

---@param command dgrun.fly.builder.command
---@return string[] lines of both streams, as they came
function M.run(command)
    local lines = {}
    local status = task.scope(function()
        local child = proc.spawn { argv = command.argv, env = command.env, cwd = command.cwd,
            stdin = command.stdin }
        for line in proc.lines(child) do
            lines[#lines + 1] = line
            if #lines > LINES_KEPT then
                table.remove(lines, 1)
            end
            if not command.quiet then
                run.log(line)
            end
        end
        return check(child:wait())
    end)
    if status.status == 0 and not status.signal then
        return lines
    end
    local last = {}
    for i = math.max(1, #lines - LINES_TOLD + 1), #lines do
        last[#last + 1] = lines[i]
    end
    err.raise {
        code = "fly.build_failed", op = "fly.build", builder = command.builder,
        status = status.status, signal = status.signal,
        msg = ("%s %s"):format(command.builder, status.signal
            and ("was ended by signal %d"):format(status.signal)
            or ("exited with status %d"):format(status.status)),
        details = { { title = "output", lines = last } },
        hint = command.hint or "See its output above. The app was not changed.",
    }
end

---Adds `--name key=value` for each entry, in the order of the keys.
---@param argv string[]
---@param flag string
---@param values? table<string, string>
function M.add_pairs(argv, flag, values)
    local names = {}
    for name in pairs(values or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        argv[#argv + 1] = flag
        argv[#argv + 1] = ("%s=%s"):format(name, tostring(values[name]))
    end
end

---Adds build secrets, handed over in the environment: a command line can be read by others.
---@param argv string[]
---@param env table<string, userdata|string>
---@param secrets? table<string, userdata|string>
function M.add_secrets(argv, env, secrets)
    local names = {}
    for name in pairs(secrets or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    for _, name in ipairs(names) do
        local variable = "DGRUN_SECRET_" .. name
        argv[#argv + 1] = "--secret"
        argv[#argv + 1] = ("id=%s,env=%s"):format(name, variable)
        env[variable] = secrets[name]
    end
end

---Adds `--flag value` where there is a value.
---@param argv string[]
---@param flag string
---@param value? string
function M.add(argv, flag, value)
    if value then
        argv[#argv + 1] = flag
        argv[#argv + 1] = value
    end
end

return M
