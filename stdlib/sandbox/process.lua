-- A machine whose image was built from a folder: its command runs as a real process there.
--
-- Three things differ from a real machine. The image's WORKDIR is the snapshot of the folder; a
-- program of the image that is not in it (/app/.venv/bin/python) is taken from PATH; a web process
-- is told a free port in PORT.
local checks = require "sandbox.checks"
local clock = require "sandbox.clock"
local dockerfile_of = require "sandbox.dockerfile"
local fs = require "host.fs"
local logs = require "sandbox.logs"
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

---A program of the image as one of this system.
local function local_program(program, image, workdir)
    local inside = program:sub(1, #workdir + 1) == workdir .. "/"
        and program:sub(#workdir + 2)
    if inside and fs.exists(image.dir / inside) then
        return image.dir / inside
    end
    local name = program:match("([^/]+)$")
    if name == "python" or name == "python3" then
        return fs.exists("/usr/bin/python3") and "/usr/bin/python3" or "python3"
    end
    return program:find("/", 1, true) and not fs.exists(program) and name or program
end

local function command_of(machine, image, recipe)
    local init = machine.config.init or {}
    local argv = {}
    local head = init.exec or init.entrypoint or recipe.entrypoint or {}
    local tail = init.exec and {} or init.cmd or (not init.entrypoint and recipe.cmd) or {}
    for _, list in ipairs { head, tail } do
        for _, word in ipairs(list) do
            argv[#argv + 1] = word
        end
    end
    if argv[1] then
        argv[1] = local_program(argv[1], image, recipe.workdir)
    end
    return argv
end

local function environment_of(world, app, machine, recipe, port)
    local config = machine.config
    local env = { PATH = os.getenv("PATH"), HOME = "/tmp", LANG = "C.UTF-8",
        PYTHONDONTWRITEBYTECODE = "1" }
    for name, value in pairs(recipe.env) do
        if name ~= "PATH" then
            env[name] = value
        end
    end
    for name, value in pairs(config.env or {}) do
        env[name] = value
    end
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

local function recipe_of(image)
    local dockerfile = fs.read(image.dir / "Dockerfile", { limit = 1024 * 1024 }) or ""
    return dockerfile_of.parse(dockerfile)
end

---Runs a command beside the main process.
---@param opts {command: string[], timeout: number, stdin: string?}
---@return table? result of host.proc.run
---@return dgrun.err?
function M.exec(world, app, machine, image, opts)
    local recipe = recipe_of(image)
    local argv = { unpack(opts.command) }
    argv[1] = local_program(argv[1], image, recipe.workdir)
    return proc.run {
        argv = bound_to_us(argv), cwd = image.dir, clean_env = true, grace = 1,
        env = environment_of(world, app, machine, recipe), stdin = opts.stdin,
        timeout = opts.timeout,
    }
end

---@return sandbox.process
function M.start(world, app, machine, image)
    local recipe = recipe_of(image)
    local serves = #(machine.config.services or {}) > 0
    local port = serves and free_port() or nil
    local argv = command_of(machine, image, recipe)
    local child, failure = nil, { code = "proc.not_found", msg = "the image has no command" }
    if argv[1] then
        child, failure = proc.spawn {
            argv = bound_to_us(argv), cwd = image.dir, clean_env = true, grace = 2,
            env = environment_of(world, app, machine, recipe, port),
        }
    end
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
