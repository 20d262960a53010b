-- Does the app listen where Fly's proxy looks for it? The most frequent reason of checks that never
-- pass: a server on 127.0.0.1, or on another port than internal_port.
local machines = require "dgrun.fly.machines"

local M = {}

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

---What listens in a machine: {address, port, command}.
local function listeners(processes)
    local found = {}
    for _, process in ipairs(processes) do
        for _, socket in ipairs(process.listen_sockets or {}) do
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

---What is wrong, for a person; nil when nothing is, or it cannot be known.
---@param app string
---@param machine table that is started
---@return string?
function M.problem(app, machine)
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
            return ("nothing listens on 0.0.0.0:%d (internal_port); the app listens %s"):format(
                port, #where > 0 and "on " .. table.concat(where, ", ") or "nowhere")
        end
    end
end

return M
