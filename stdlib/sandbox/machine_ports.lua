-- The ports of a machine's program. It runs below `dgrun --machine-process`, which binds the port
-- that the program asks for to a free one on loopback, and reports both in a file:
-- host/proc/port_map.h. So the same port can be asked for by several machines at once.
local build = require "sandbox.build"
local fs = require "host.fs"
local path_of = require "dgrun.core.path"

local M = {}

local REPORT_LIMIT = 64 * 1024

---@class sandbox.machine_ports.port
---@field proto "tcp"|"udp"
---@field host string that the program asked for
---@field port integer that the program asked for
---@field address string HOST:PORT where it is here

---@class sandbox.machine_ports
---@field list sandbox.machine_ports.port[] where the program listens
---@field unsupported? string why this system does not let the local Fly choose ports
---@field refused? string why a program was not allowed to bind

local function bracketed(host)
    return host:find(":", 1, true) and "[" .. host .. "]" or host
end

---@param argv string[]
---@param report string path
---@param pairs_of_ports {[1]: integer, [2]: integer}[] asked and given: first those of the service
---@return string[]
function M.wrap(argv, report, pairs_of_ports)
    local texts = {}
    for i, pair in ipairs(pairs_of_ports) do
        texts[i] = ("%d:%d"):format(pair[1], pair[2])
    end
    return { build.program(), "--machine-process", table.concat(texts, ","), report,
        unpack(argv) }
end

local started = 0

---A file for the report of one start. An earlier process of the machine may still be ending.
function M.new_report(world, machine)
    started = started + 1
    local folder = world.dir / "ports"
    fs.mkdir(folder)
    local path = path_of.join(folder, ("%s-%d"):format(machine.id, started))
    fs.remove(path)
    return path
end

---@param report string path
---@return sandbox.machine_ports
function M.read(report)
    local found = { list = {} }
    for line in (fs.read(report, { limit = REPORT_LIMIT }) or ""):gmatch("([^\n]*)\n") do
        local proto, host, port, at, given = line:match("^listen (%l+) (%S+) (%d+) (%S+) (%d+)$")
        if proto then
            found.list[#found.list + 1] = { proto = proto, host = bracketed(host),
                port = tonumber(port), address = ("%s:%s"):format(bracketed(at), given) }
        end
        found.unsupported = found.unsupported or line:match("^unsupported (.*)$")
        found.refused = found.refused or line:match("^refused (.*)$")
    end
    return found
end

---What a command in the machine needs to reach the ports of its program.
---@param ports sandbox.machine_ports
---@return {[1]: integer, [2]: integer}[]
function M.bound(ports)
    local found = { { 0, 0 } }
    for _, port in ipairs(ports.list) do
        if port.proto == "tcp" then
            found[#found + 1] = { port.port, tonumber(port.address:match("%d+$")) }
        end
    end
    return found
end

local function is_loopback(host)
    return host:find("^127%.") ~= nil or host == "[::1]"
        or host:find("^%[::ffff:127%.") ~= nil
end

---Where a port of the machine is reached; nil where Fly's proxy would not reach it.
---@param ports sandbox.machine_ports
---@param asked integer
---@param given integer the port of loopback that the program finds in PORT
---@return string? # HOST:PORT
function M.address(ports, asked, given)
    if ports.unsupported then
        return "127.0.0.1:" .. given
    end
    local address
    for _, port in ipairs(ports.list) do
        if port.proto == "tcp" and port.port == asked and not is_loopback(port.host)
            and (not address or port.address:match("^127")) then
            address = port.address
        end
    end
    return address
end

---What a system without port mapping means.
---@param ports sandbox.machine_ports
function M.warning(ports)
    return ("this system does not let the local Fly map ports (%s): the program must listen on "
        .. "the port in the variable PORT, and other computers may reach it there")
        :format(ports.unsupported)
end

---Why the service of a machine is not reached.
---@param ports sandbox.machine_ports
---@param expected integer internal_port
---@return string
function M.problem(ports, expected)
    if ports.unsupported then
        return ("nothing listens on the port in the variable PORT, and this system does not let "
            .. "the local Fly map ports (%s)"):format(ports.unsupported)
    elseif ports.refused then
        return ("the local Fly cannot see the ports of this program (%s), and refused to let it "
            .. "listen"):format(ports.refused)
    end
    local others = {}
    for _, port in ipairs(ports.list) do
        if port.proto == "tcp" then
            others[#others + 1] = port.port == expected and ("%s:%d"):format(port.host, port.port)
                or tostring(port.port)
        end
    end
    if #others == 0 then
        return ("nothing listens on %d (internal_port)"):format(expected)
    end
    return ("nothing listens on 0.0.0.0:%d (internal_port), but the program listens on %s")
        :format(expected, table.concat(others, ", "))
end

return M
