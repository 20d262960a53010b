-- A port of loopback that nobody listens on now.
return function()
    local server = assert(require("host.server").listen {})
    local port = server:port()
    server:close()
    return port
end
