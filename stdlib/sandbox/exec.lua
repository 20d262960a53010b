-- Commands in a running machine, and its list of processes: docs/fly/machines-api.md, section 6.7.
local answer = require "sandbox.answer"
local behaviour = require "sandbox.behaviour"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local leases = require "sandbox.leases"
local process = require "sandbox.process"

local M = {}

local DEFAULT_SECONDS, LONGEST_SECONDS = 30, 60
local MAIN_PID = 640

---@return string[]
local function command_of(body)
    local list = input.field(body, "command", "table")
    local text = input.field(body, "cmd", "string")
    if not list and text then
        local words = {}
        for word in text:gmatch("%S+") do
            words[#words + 1] = word
        end
        list = words
    end
    if not list or #list == 0 then
        answer.fail(400, "invalid_argument: command is required")
    end
    for _, word in ipairs(list) do
        if type(word) ~= "string" or word:find("%z") then
            answer.fail(400, "invalid_argument: command must be a list of strings")
        end
    end
    return list
end

local function timed_out()
    answer.fail(408, "deadline_exceeded: the command did not end in time")
end

local function simulated(world, machine, command, seconds)
    local exec = behaviour.of(world, machine).exec or {}
    local of_command = type(exec.commands) == "table"
        and exec.commands[table.concat(command, " ")]
    local found = of_command or exec
    local takes = tonumber(found.seconds) or 0
    clock.sleep(math.min(takes, seconds))
    if takes > seconds then
        timed_out()
    end
    return {
        exit_code = tonumber(found.exit_code) or 0, exit_signal = tonumber(found.exit_signal) or 0,
        stdout = tostring(found.stdout or ""), stderr = tostring(found.stderr or ""),
    }
end

local function real(world, context, image, command, seconds, stdin)
    local result, e = process.exec(world, context.app, context.machine, image,
        { command = command, timeout = seconds, stdin = stdin })
    if not result then
        if e.code == "proc.timeout" then
            timed_out()
        end
        return { exit_code = 127, exit_signal = 0, stdout = "", stderr = input.clean(e.msg) }
    end
    return {
        exit_code = result.signal and 0 or result.status, exit_signal = result.signal or 0,
        stdout = input.clean(result.stdout), stderr = input.clean(result.stderr),
    }
end

function M.run(world, context, body)
    local command = command_of(body)
    local seconds = input.field(body, "timeout", "integer") or DEFAULT_SECONDS
    if seconds < 0 or seconds > LONGEST_SECONDS then
        answer.fail(400, ("invalid_argument: timeout must be at most %d"):format(LONGEST_SECONDS))
    end
    seconds = seconds == 0 and DEFAULT_SECONDS or seconds
    local stdin = input.field(body, "stdin", "string")
    local machine = leases.changeable(world, context)
    if machine.state ~= "started" then
        answer.fail(412, ("failed_precondition: machine not running, currently %s"):format(
            machine.state))
    end
    local image = behaviour.image(world, machine)
    if image and image.dir then
        return real(world, context, image, command, seconds, stdin)
    end
    return simulated(world, machine, command, seconds)
end

---Where a real process listens; of a simulated one all interfaces on the port of each service, or
---what the behaviour says.
local function sockets(world, machine)
    local running = world.running[machine.id]
    local listen = behaviour.of(world, machine).listen
    local addresses = type(listen) == "table" and listen or { listen }
    local ports = running and running.ports and running.ports()
    if ports and not ports.unsupported then
        addresses = {}
        for _, port in ipairs(ports.list) do
            addresses[#addresses + 1] = ("%s:%d"):format(port.host, port.port)
        end
    elseif listen == nil then
        for _, service in ipairs(machine.config.services or {}) do
            addresses[#addresses + 1] = ("[::]:%d"):format(service.internal_port or 8080)
        end
    end
    local found = json.array {}
    for _, address in ipairs(addresses) do
        if type(address) == "string" and address ~= "" then
            found[#found + 1] = { proto = "tcp", address = address }
        end
    end
    return found
end

function M.ps(world, context)
    local machine, order = context.machine, context.query.order
    if order and order ~= "asc" and order ~= "desc" and order ~= "" then
        answer.fail(400, "invalid_argument: order must be asc or desc")
    elseif machine.state ~= "started" then
        answer.fail(412, ("failed_precondition: machine not running, currently %s"):format(
            machine.state))
    end
    local init = machine.config.init or {}
    local command = table.concat(init.exec or init.cmd or init.entrypoint or { "main" }, " ")
    local seconds = math.max(0, math.floor(clock.now(world) - (machine.started or 0)))
    return json.array {
        { pid = 1, stime = 0, rtime = 0, command = "/fly/init", directory = "/", cpu = 0,
            rss = 2 ^ 20, listen_sockets = json.array { { proto = "tcp6",
                address = ("[%s]:22"):format(machine.private_ip) } } },
        { pid = MAIN_PID, stime = 0, rtime = seconds, command = command, directory = "/app",
            cpu = 0, rss = 40 * 2 ^ 20, listen_sockets = sockets(world, machine) },
    }
end

return M
