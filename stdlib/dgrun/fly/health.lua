-- When is a machine good? Started, not crashing, its checks passing:
-- docs/fly/deploy.md, section 10.
local api = require "dgrun.fly.api"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local machines = require "dgrun.fly.machines"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---Seconds that a machine must stay up after its start.
M.smoke_seconds = 10

---Seconds that a program may listen only elsewhere, for metrics or a debugger, before it listens on
---internal_port.
M.elsewhere_seconds = 40

---What a shell, and Fly's init, mean by them.
local exit_meanings = { [126] = ", the command cannot be executed",
    [127] = ", the command was not found" }

local function log_command(app, machine)
    return api.command(("logs --app %s --instance %s"):format(app, machine.id))
end

local function crashed(app, machine)
    local exit = machines.last_exit(machine) or { exit_code = "?" }
    err.raise {
        code = "fly.crashed", op = "fly.deploy", machine = machine.id,
        exit_code = exit.exit_code, oom_killed = exit.oom_killed,
        msg = ("machine %s of %s crashes: exit code %s%s"):format(machine.id, app,
            tostring(exit.exit_code), exit.oom_killed and ", out of memory"
                or exit_meanings[exit.exit_code] or ""),
        hint = exit.oom_killed and "Give it more memory in [[vm]] of the configuration."
            or "See its log: " .. log_command(app, machine),
    }
end

---Raises for a machine that will not come up any more.
local function refuse_hopeless(app, since)
    return function(machine)
        local exit = machines.last_exit(machine)
        if machine.state == "failed" then
            err.raise { code = "fly.boot_failed", op = "fly.deploy", machine = machine.id,
                msg = ("machine %s of %s failed to boot"):format(machine.id, app),
                hint = "See its log: " .. log_command(app, machine) }
        elseif machines.is_crashing(machine) and exit.timestamp > since then
            crashed(app, machine) -- what the version before did does not count
        elseif machine.state == "stopped" and exit and exit.timestamp > since
            and not exit.requested_stop and not exit.restarting then
            crashed(app, machine)
        end
    end
end

local function has_checks(config)
    for _, service in ipairs(config.services or {}) do
        if service.checks and #service.checks > 0 then
            return true
        end
    end
    return config.checks ~= nil and next(config.checks) ~= nil
end

---@return string? # what is wrong, nil when all checks pass
local function failing_check(machine)
    local checks = machines.checks(machine)
    for _, one in ipairs(checks) do
        if one.status ~= "passing" then
            local output = format.excerpt(tostring(one.output or ""), 200)
            return ("check %s is %s: %s"):format(one.name, one.status, output)
        end
    end
    return #checks == 0 and "no check has reported yet" or nil
end

-- Does the app listen where Fly's proxy looks for it? The most frequent reason of checks that never
-- pass: a server on 127.0.0.1, or on another port than internal_port.

local function is_loopback(address)
    return address:find("^127%.") ~= nil or address == "localhost" or address:find("::1%]?$") ~= nil
end

local function ports_of(config)
    local ports = {}
    for _, service in ipairs(config.services or {}) do
        if service.internal_port and service.protocol ~= "udp" then
            ports[service.internal_port] = true
        end
    end
    return ports
end

---What listens in a machine, but for what Fly has in each: {address, port, command}.
local function listeners(processes)
    local found = {}
    for _, process in ipairs(processes) do
        local is_platform = tostring(process.command):find "^/fly/" ~= nil
        for _, socket in ipairs(not is_platform and process.listen_sockets or {}) do
            local address, port = tostring(socket.address):match("^(.*):(%d+)$")
            if address then
                found[#found + 1] = { address = address, port = tonumber(port),
                    command = tostring(process.command) }
            end
        end
    end
    return found
end

---@param found {address: string, port: integer}[]
---@param port integer
---@return boolean
local function reachable(found, port)
    for _, one in ipairs(found) do
        if one.port == port and not is_loopback(one.address) then
            return true
        end
    end
    return false
end

---Why the proxy does not reach the app; nil when it does, or that cannot be known.
---@param app string
---@param machine table that is started
---@return string?
---@return boolean? is_elsewhere the app does listen, but not where the proxy looks
function M.port_problem(app, machine)
    local ports = ports_of(machine.config or {})
    if not next(ports) then
        return nil
    end
    local ok, processes = pcall(machines.processes, app, machine.id)
    if not ok or type(processes) ~= "table" then
        return nil
    end
    local found = listeners(processes)
    for port in pairs(ports) do
        if not reachable(found, port) then
            local where = {}
            for i, one in ipairs(found) do
                where[i] = ("%s:%d"):format(one.address, one.port)
            end
            return ("nothing listens on 0.0.0.0:%d (internal_port); the program listens %s"):format(
                port, #where > 0 and "on " .. table.concat(where, ", ") or "nowhere"), #where > 0
        end
    end
end

-- The wait.

---Looks once at where a program listens whose checks fail. Only the local Fly knows that a program
---goes on so: on Fly, one that listens late has until the end of the wait.
local function elsewhere_watcher(app)
    local is_done = false
    return function(machine, seconds_up)
        if is_done or seconds_up < api.pace(M.elsewhere_seconds) then
            return
        end
        is_done = true
        local problem, is_elsewhere = M.port_problem(app, machine)
        if problem and is_elsewhere and api.is_sandbox() then
            err.raise { code = "fly.unhealthy", op = "fly.deploy", machine = machine.id,
                msg = ("machine %s of %s is not healthy: %s"):format(machine.id, app, problem),
                hint = "Let the program listen on internal_port, on all addresses, or correct "
                    .. "internal_port in the fly.toml. The machine keeps the new version." }
        elseif problem then
            effect.note(("machine %s: %s"):format(machine.id, problem))
        end
    end
end

---Why the proxy would not reach a machine without checks in the local Fly, where a deploy waits a
---little for it: nothing else would show that the program listens elsewhere.
local function unreached(app, machine, seconds_up)
    if api.is_sandbox() and not has_checks(machine.config) and machine.state == "started"
        and seconds_up < api.pace(M.elsewhere_seconds) + 1 then
        return (M.port_problem(app, machine))
    end
end

---Waits until a machine is good, or raises why it is not.
---@param app string
---@param machine table as the update or creation answered
---@param seconds number for each of the waits
---@param stays? number seconds that it must stay up, when not those of a deploy
function M.wait(app, machine, seconds, stays)
    local look = refuse_hopeless(app, ((machine.events or {})[1] or { timestamp = 0 }).timestamp)
    local watch_port = elsewhere_watcher(app)
    machines.wait(app, machine.id, { state = "started", seconds = seconds,
        instance_id = machine.instance_id, look = look })

    local up_since = time.now()
    local deadline = up_since + seconds
    while true do
        local now = machines.get(app, machine.id)
        if not now then
            err.raise { code = "fly.not_found", op = "fly.deploy",
                msg = ("machine %s of %s is gone"):format(machine.id, app) }
        end
        look(now)
        local seconds_up = time.now() - up_since
        local wrong = has_checks(machine.config) and failing_check(now)
            or unreached(app, now, seconds_up)
        if seconds_up >= (stays or api.pace(M.smoke_seconds)) and not wrong
            and now.state == "started" then
            return
        elseif time.now() >= deadline then
            err.raise {
                code = "fly.unhealthy", op = "fly.deploy", machine = machine.id,
                msg = ("machine %s of %s is not healthy after %g s: %s"):format(machine.id, app,
                    seconds, wrong or "it is " .. now.state),
                hint = "The machine keeps the new version. Its log: " .. log_command(app, machine),
            }
        end
        if wrong and now.state == "started" then
            watch_port(now, seconds_up)
        end
        task.sleep(api.pace(1))
    end
end

return M
