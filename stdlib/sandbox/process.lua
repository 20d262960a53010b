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
local machine_ports = require "sandbox.machine_ports"
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
-- Seconds until the log says that the program is not where the service expects it; less where it
-- listens elsewhere.
local NOWHERE_AFTER, ELSEWHERE_AFTER = 3, 1

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
    local project = path_of.dirname(path_of.dirname(world.dir))
    built.venv = built.venv or image_command.venv(project, built.folder)
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

---A port nobody listens on now.
local function free_port()
    local server = assert(require("host.server").listen {})
    local port = server:port()
    server:close()
    return port
end

---@class sandbox.process.service
---@field report string file of machine_ports
---@field expected integer internal_port; 0 for a machine without services
---@field given? integer the port that stands for it; nil for a machine without services

---Asks a check of a machine once.
---@return boolean
---@return string output
local function ask(check, service, ports)
    local address = machine_ports.address(ports, check.port or service.expected, service.given)
    if not address then
        return false, machine_ports.problem(ports, check.port or service.expected)
    end
    local host_http = require "host.http"
    if check.type == "tcp" then
        local host, port = address:match("^%[?(.-)%]?:(%d+)$")
        local there, e = host_http.connect { host = host, port = tonumber(port), timeout = 2 }
        return there ~= nil, there and "Success" or e.msg
    end
    local answer, e = host_http.request {
        url = ("http://%s%s"):format(address, check.path or "/"),
        method = (check.method or "GET"):upper(), timeout = 2, connect_timeout = 2,
        -- A server may close a connection that was idle just when the next check uses it.
        headers = { Connection = "close" },
    }
    if not answer then
        return false, ports.unsupported and machine_ports.problem(ports, service.expected) or e.msg
    end
    return answer.status >= 200 and answer.status < 300, ("%d"):format(answer.status)
end

---Follows the checks of a machine, and says in its log what keeps the program from being reached.
local function watch_checks(world, app, machine, service)
    local all_good
    local reported = {}
    local function report(text)
        if not reported[text] then
            reported[text] = true
            logs.add(world, app, machine, text, "runner", "error")
        end
    end
    local began = clock.steady()
    repeat
        local ports = machine_ports.read(service.report)
        if ports.unsupported then
            report(machine_ports.warning(ports))
        end
        all_good = true
        checks.set(world, machine, function(check)
            local is_good, output = ask(check, service, ports)
            all_good = all_good and is_good
            return is_good, output
        end)
        if clock.steady() - began > (#ports.list > 0 and ELSEWHERE_AFTER or NOWHERE_AFTER)
            and not machine_ports.address(ports, service.expected, service.given) then
            report(machine_ports.problem(ports, service.expected))
        end
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
    local running = world.running[machine.id]
    local ports = running and running.ports and running.ports() or { list = {} }
    return proc.run {
        argv = machine_ports.wrap(argv, "/dev/null", machine_ports.bound(ports)),
        cwd = image_command.folder(built), clean_env = true, grace = 1,
        env = environment_of(world, app, machine, built), stdin = opts.stdin,
        timeout = opts.timeout,
    }
end

---Starts the command of a machine.
---@return table? child of host.proc
---@return dgrun.err?
local function start_child(world, app, machine, image, service)
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
        argv = machine_ports.wrap(argv, service.report,
            { { service.expected, service.given or 0 } }),
        cwd = image_command.folder(built), clean_env = true, grace = 2,
        env = environment_of(world, app, machine, built, service.given),
    }
end

---@return sandbox.process
function M.start(world, app, machine, image)
    local first = (machine.config.services or {})[1]
    local service = {
        report = machine_ports.new_report(world, machine), given = first and free_port(),
        expected = first and (first.internal_port or 8080) or 0,
    }
    local child, failure = start_child(world, app, machine, image, service)
    if not child then
        logs.add(world, app, machine, failure.msg, "runner", "error")
        return { wait = function() clock.sleep(world.pace) return { exit_code = 127 } end,
            stop = function() end, signal = function() end }
    end
    ---Its exit, as soon as all that it wrote is in the log.
    local ended ---@type {exit_code: integer, signal?: integer}?

    local reader = world_of.spawn(world, "output of " .. machine.id, function()
        for line in function() return child:read() end do
            logs.add(world, app, machine, line.line)
        end
        return child:wait()
    end)
    local checker = first and world_of.spawn(world, "checks of " .. machine.id,
        function() watch_checks(world, app, machine, service) end)
    return {
        ports = function() return machine_ports.read(service.report) end,
        address = first and function()
            return machine_ports.address(machine_ports.read(service.report), service.expected,
                service.given)
        end,
        problem = function()
            return machine_ports.problem(machine_ports.read(service.report), service.expected)
        end,
        wait = function()
            local _, exit = reader:join()
            local status = type(exit) == "table" and exit or {}
            ended = { exit_code = status.signal and 128 + status.signal or status.status or 1,
                signal = status.signal }
            if checker then
                checker:cancel()
            end
            fs.remove(service.report)
            return ended
        end,
        stop = function(signal, seconds)
            if checker then
                checker:cancel()
            end
            child:kill(signal)
            local deadline = clock.steady() + seconds
            repeat
                local over = ended or world.closing or clock.steady() >= deadline
            until over or not clock.sleep(STOPPED_EVERY)
            if not ended and not world.closing and seconds > 0 then
                child:kill("SIGKILL")
                return { exit_code = 137, signal = 9 }
            end
            return ended
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
