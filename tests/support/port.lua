-- A port of loopback for a server that cannot choose one by itself. It is tried by binding it, and
-- lies below the ports that the system gives to outgoing connections, so that none of those takes
-- it before the server does.
local server_of = require "host.server"

local FIRST, LAST = 20000, 32000

local pid = tonumber(assert(io.open "/proc/self/stat"):read "*n")
local random = pid * 7919

return function()
    while true do
        random = (random * 48271 + 11) % 2147483647
        local server = server_of.listen { port = FIRST + random % (LAST - FIRST) }
        if server then
            local port = server:port()
            server:close()
            return port
        end
    end
end
