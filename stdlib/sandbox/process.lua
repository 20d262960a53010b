-- A machine whose image was built from a folder: its command runs as a real process there.
--
-- Programs that the image's folder does not have come from the project's virtual environment or
-- from PATH (image_command.lua). A web process gets a free port in PORT.
local checks = require "sandbox.checks"
local clock = require "sandbox.clock"
local fs = require "host.fs"
local image_command = require "sandbox.image_command"
local json = require "dgrun.core.json"
local logs = require "sandbox.logs"
local path_of = require "dgrun.core.path"
local proc = require "host.proc"
local task = require "dgrun.core.task"
local world_of = require "sandbox.world"

local M = {}

-- Signals that the host does not send; another that ends a process stands for them.
local substitutes = { SIGILL = "SIGABRT", SIGTRAP = "SIGABRT", SIGFPE = "SIGABRT",
    SIGSEGV = "SIGABRT", SIGPIPE = "SIGABRT" }

local FIRST_CHECKS_EVERY = 0.2
local LATER_CHECKS_EVERY = 5
local STOPPED_EVERY = 0.02

---An image that was built here, with what its Dockerfile says.
---@return sandbox.image_command.image|sandbox.dockerfile.recipe|nil
---@return dgrun.err?
local function built_image(world, image)
    local text = fs.read(image.dir / "image.json", { limit = 1024 * 1024 })
    if not text then
        return nil, { code = "sandbox.old_image",
            msg = "an earlier version of dgrun built this image: deploy again" }
    end
    local built = json.decode(text)
    built.root = image.dir / "root"
    -- The local Fly is in .dgrun/sandbox of the project.
    built.venv = image_command.venv(path_of.dirname(path_of.dirname(world.dir)), built.folder)
    return built
end

---@return string[] words
local function command_of(machine, built)
    local init = machine.config.init or {}
    local words = {}
    local head = init.exec or init.entrypoint or built.entrypoint or {}
    local tail = init.exec and {} or init.cmd or (not init.entrypoint and built.cmd) or {}
    for _, list in ipairs { head, tail } do
        for _, word in ipairs(list) do
            words[#words + 1] = word
        end
    end
    return words
end

local function environment_of(world, app, machine, built, port)
    local config = machine.config
    local env = image_command.environment(built, config.env or {})
    for name, value in pairs(world.vault:at(app.name, machine.secrets_version)) do
        env[name] = value
    end
    env.FLY_APP_NAME, env.FLY_REGION = app.name, machine.region
    env.FLY_MACHINE_ID, env.FLY_ALLOC_ID = machine.id, machine.id
    env.FLY_MACHINE_VERSION = machine.instance_id
    env.FLY_PRIVATE_IP = machine.private_ip
    env.FLY_IMAGE_REF = config.image
    env.FLY_VM_MEMORY_MB = tostring(config.guest and config.guest.memory_mb or 256)
    env.PORT = port and tostring(port) or nil
    return env
end

---The command so that it ends with dgrun, also when dgrun is killed and cannot end it.
local function bound_to_us(argv)
    if not fs.exists("/usr/bin/setpriv") then
        return argv
    end
    return { "/usr/bin/setpriv", "--pdeathsig", "KILL", "--", unpack(argv) }
end

---A port nobody listens on now.
local function free_port()
    local server = assert(require("host.server").listen {})
    local port = server:port()
    server:close()
    return port
end

local function watch_checks(world, machine, port)
    local http = require "host.http"
    local all_good
    repeat
        checks.set(world, machine, function(check)
            local answer, e = http.request {
                url = ("http://127.0.0.1:%d%s"):format(port, check.path or "/"),
                method = (check.method or "GET"):upper(), timeout = 2, connect_timeout = 2,
            }
            all_good = answer ~= nil and answer.status >= 200 and answer.status < 300
            return all_good, answer and ("%d"):format(answer.status) or e.msg
        end)
        local ok = clock.sleep(all_good and LATER_CHECKS_EVERY or FIRST_CHECKS_EVERY)
    until not ok
end

---Runs a command beside the main process.
---@param opts {command: string[], timeout: number, stdin: string?}
---@return table? result of host.proc.run
---@return dgrun.err?
function M.exec(world, app, machine, image, opts)
    local built, e = built_image(world, image)
    local argv
    if built then
        argv, e = image_command.argv(built, opts.command)
    end
    if not argv then
        return nil, e
    end
    return proc.run {
        argv = bound_to_us(argv), cwd = image_command.folder(built), clean_env = true, grace = 1,
        env = environment_of(world, app, machine, built), stdin = opts.stdin,
        timeout = opts.timeout,
    }
end

---Starts the command of a machine.
---@return table? child of host.proc
---@return dgrun.err?
local function start_child(world, app, machine, image, port)
    local built, e = built_image(world, image)
    if not built then
        return nil, e
    end
    local words = command_of(machine, built)
    if not words[1] then
        return nil, { code = "proc.not_found", msg = "the image has no command" }
    end
    local argv
    argv, e = image_command.argv(built, words)
    if not argv then
        return nil, e
    end
    return proc.spawn {
        argv = bound_to_us(argv), cwd = image_command.folder(built), clean_env = true, grace = 2,
        env = environment_of(world, app, machine, built, port),
    }
end

---@return sandbox.process
function M.start(world, app, machine, image)
    local serves = #(machine.config.services or {}) > 0
    local port = serves and free_port() or nil
    local child, failure = start_child(world, app, machine, image, port)
    if not child then
        logs.add(world, app, machine, failure.msg, "runner", "error")
        return { wait = function() clock.sleep(world.pace) return { exit_code = 127 } end,
            stop = function() end, signal = function() end }
    end
    local ended

    local reader = world_of.spawn(world, "output of " .. machine.id, function()
        for line in function() return child:read() end do
            logs.add(world, app, machine, line.line, "app",
                line.stream == "stderr" and "error" or "info")
        end
        return child:wait()
    end)
    local checker = serves and world_of.spawn(world, "checks of " .. machine.id,
        function() watch_checks(world, machine, port) end)
    return {
        port = port,
        wait = function()
            local _, exit = reader:join()
            ended = true
            if checker then
                checker:cancel()
            end
            local status = type(exit) == "table" and exit or {}
            return { exit_code = status.signal and 128 + status.signal or status.status or 1,
                signal = status.signal }
        end,
        stop = function(signal, seconds)
            if checker then
                checker:cancel()
            end
            child:kill(signal)
            local deadline = clock.steady() + seconds
            while not ended and clock.steady() < deadline and clock.sleep(STOPPED_EVERY) do
                ended = ended or world.closing
            end
            if not ended and seconds > 0 then
                child:kill("SIGKILL")
                return { exit_code = 137, signal = 9 }
            end
        end,
        signal = function(name) child:kill(substitutes[name] or name) end,
        ---Ends it with all that it started; it is gone when this returns.
        close = function()
            child:kill("SIGKILL")
            task.shield(child.stop, child)
        end,
    }
end

return M
