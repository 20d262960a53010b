-- The local Fly of a project as a process of its own: how it is started in the background, found by
-- other commands, replaced and stopped.
--
-- Two locks: its process holds `lock` of the folder as long as it lives; who starts, replaces or
-- stops it holds `start.lock` meanwhile, so that of two first commands one starts it.
local address = require "sandbox.address"
local build = require "sandbox.build"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local host_task = require "host.task"
local json = require "dgrun.core.json"
local local_site = require "dgrun.core.local_site"
local log = require "host.log"
local path_of = require "dgrun.core.path"
local proc = require "host.proc"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

M.LOG = "background.log"

-- Machines are started and their first checks awaited before it can be found.
local START_SECONDS, STOP_SECONDS = 60, 20
local LOOK_EVERY = 0.01
-- While a command works for long without Fly, say on a migration, its local Fly is not idle.
local GREET_EVERY = 300
local ATTEMPTS = 3

---What its process inherits of the environment: what programs need to run, and what developers of
---dgrun set. Nothing that may be secret.
local inherited = { "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "LD_LIBRARY_PATH", "DGRUN_STDLIB", "DGRUN_DEBUG", "DGRUN_EXCHANGES", "ASAN_OPTIONS",
    "LSAN_OPTIONS", "UBSAN_OPTIONS" }

---@generic T
---@param seconds number
---@param look fun(): T?
---@return T? # nil when the time was over first
local function wait_for(seconds, look)
    local deadline = time.now() + seconds
    local found = look()
    while not found and time.now() < deadline do
        task.sleep(LOOK_EVERY)
        found = look()
    end
    return found
end

---@return userdata? lock nil while another process holds it
local function try_lock(path)
    local lock, e = fs.lock(path)
    if not lock and e.code == "fs.locked" then
        return nil
    end
    return check(lock, e)
end

local function busy(dir, what)
    err.raise {
        code = "sandbox.in_use", op = "sandbox.find", msg = ("the local Fly in %s %s"):format(dir,
            what), hint = "Try again; if that does not help, end the other dgrun process.",
    }
end

---Runs `f` while no other process starts or stops the local Fly of the folder.
---@param dir string
local function alone(dir, f)
    check(fs.mkdir(dir, { parents = true }))
    local lock = wait_for(START_SECONDS + STOP_SECONDS, function()
        return try_lock(dir / "start.lock")
    end)
    if not lock then
        busy(dir, "is being started or stopped by another dgrun")
    end
    local ok, result = pcall(f)
    lock:release()
    if not ok then
        error(result, 0)
    end
    return result
end

local function is_locked(dir)
    local lock = try_lock(dir / "lock")
    if lock then
        lock:release()
    end
    return lock == nil
end

---@return sandbox.address?
local function running(dir)
    if not fs.exists(dir / "lock") or not is_locked(dir) then
        return nil
    end
    -- One whose command was killed may still be starting.
    local found = wait_for(START_SECONDS, function()
        return address.read(dir) or not is_locked(dir)
    end)
    if not found then
        busy(dir, "does not answer")
    end
    return type(found) == "table" and found or nil
end

---@return integer? status
---@return any body, or the error
local function call(dir, url, path, body)
    local answer, e = require("host.http").request {
        url = url .. path, method = "POST", body = json.encode(body), timeout = 10,
        headers = { Authorization = "Bearer " .. (fs.read(dir / "token") or ""),
            ["Content-Type"] = "application/json" },
    }
    return answer and answer.status, answer and json.decode(answer.body) or e
end

local function end_it(dir, found)
    call(dir, found.url, "/sandbox/v1/stop", {})
    if not wait_for(STOP_SECONDS, function() return not is_locked(dir) end) then
        busy(dir, ("does not stop: process %d"):format(found.pid))
    end
end

---Why it did not start: the last thing that it said.
local function failed(dir)
    local text = fs.read(dir / M.LOG, { limit = 2 ^ 20 }) or ""
    local reason = text:match "dgrun: ([^\n]+)" or text:match "([^\n]+)\n*$"
    err.raise {
        code = "sandbox.start_failed", op = "sandbox.find",
        msg = "the local Fly does not start: " .. (reason or "it says nothing"),
        hint = ("Its log is %s."):format(dir / M.LOG),
    }
end

local function environment()
    local env = {}
    for _, name in ipairs(inherited) do
        env[name] = os.getenv(name)
    end
    return env
end

---@return sandbox.address
local function start(dir)
    local root = path_of.dirname(path_of.dirname(dir))
    local child = check(proc.detach {
        argv = { build.program(), "-C", root, "sandbox", "--background" }, cwd = "/",
        clean_env = true, env = environment(), output = dir / M.LOG,
    })
    local found = wait_for(START_SECONDS, function()
        if child:status() then
            failed(dir)
        end
        local here = address.read(dir)
        return here and here.pid == child:pid() and here
    end)
    if not found then
        busy(dir, "does not get ready")
    end
    log.err(("The local Fly of this project runs in the background now, as process %d. It ends "
        .. "after 15 idle minutes, or with: dgrun sandbox stop\n"):format(found.pid))
    return found
end

---@return sandbox.address
local function found_or_started(dir)
    local found = running(dir)
    if found and found.build ~= build.id() then
        if not found.background then
            err.raise {
                code = "sandbox.other_build", op = "sandbox.find",
                msg = ("another build of dgrun serves the local Fly in %s"):format(dir),
                hint = "Start that dgrun sandbox again, or end it: dgrun sandbox stop.",
            }
        end
        end_it(dir, found)
        found = nil
    end
    return found or start(dir)
end

---Makes sure that it answers, knows the apps, and goes on living.
local function greet(dir, found, apps)
    local status, body = call(dir, found.url, "/sandbox/v1/apps", { names = json.array(apps) })
    if status and status ~= 200 then
        err.raise { code = "sandbox.failed", op = "sandbox.find",
            msg = ("the local Fly in %s answered %d: %s"):format(dir, status,
                tostring(body.error)) }
    end
    return status ~= nil
end

---@class sandbox.client
---@field url string
---@field token userdata sealed
---@field site fun(url: string): string
---@field close fun() ends this use of the local Fly, which keeps running

---The local Fly of a folder, started in the background if it does not run.
---@param opts {dir: string, apps: string[]} apps: created when they do not exist
---@return sandbox.client
function M.find(opts)
    local dir, found = opts.dir, nil
    for attempt = 1, ATTEMPTS do
        found = alone(dir, function() return found_or_started(dir) end)
        if greet(dir, found, opts.apps) then
            break
        elseif attempt == ATTEMPTS then
            busy(dir, "does not answer")
        end
    end
    local greeter = host_task.spawn(function()
        while time.sleep(GREET_EVERY) do
            call(dir, found.url, "/sandbox/v1/apps", { names = json.array {} })
        end
    end, { name = "sandbox.greeter", daemon = true })
    return {
        url = found.url, token = check(fs.read(dir / "token", { seal = "FLY_API_TOKEN" })),
        site = function(url) return local_site.url(found.url, url) end,
        close = function()
            greeter:cancel()
            greeter:join()
        end,
    }
end

---@param dir string
---@return sandbox.address? # nil when it does not run
function M.status(dir)
    return fs.exists(dir) and alone(dir, function() return running(dir) end) or nil
end

---Ends it, and waits for its end.
---@param dir string
---@return sandbox.address? # nil when it did not run
function M.stop(dir)
    return fs.exists(dir) and alone(dir, function()
        local found = running(dir)
        if found then
            end_it(dir, found)
        end
        return found
    end) or nil
end

---Starts a local Fly in this process, in the place of one in the background.
---@param dir string
---@param serve fun(): T
---@return T
function M.take_over(dir, serve)
    return alone(dir, function()
        local found = running(dir)
        if found and not found.background then
            err.raise {
                code = "sandbox.in_use", op = "sandbox.start",
                msg = ("the local Fly in %s already runs, as process %d, on %s"):format(dir,
                    found.pid, found.url),
                hint = "Use that one: it serves several clients. dgrun sandbox stop ends it.",
            }
        elseif found then
            end_it(dir, found)
        end
        return serve()
    end)
end

return M
