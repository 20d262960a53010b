-- From a request to its handler: authentication, faults on request, JSON in and out.
local answer = require "sandbox.answer"
local json = require "dgrun.json"
local log = require "host.log"
local fs = require "host.fs"

local M = {}

---{method, pattern, module, function}; a pattern's {name} becomes a parameter
local routes = {
    { "GET", "/v1/apps", "apps", "list" },
    { "POST", "/v1/apps", "apps", "create" },
    { "GET", "/v1/apps/{app}", "apps", "get" },
    { "DELETE", "/v1/apps/{app}", "apps", "delete" },
    { "GET", "/v1/apps/{app}/ip_assignments", "apps", "list_ips" },
    { "POST", "/v1/apps/{app}/ip_assignments", "apps", "assign_ip" },
    { "GET", "/v1/apps/{app}/volumes", "apps", "list_volumes" },
    { "GET", "/v1/platform/regions", "apps", "regions" },

    { "GET", "/v1/apps/{app}/machines", "machines", "list" },
    { "POST", "/v1/apps/{app}/machines", "machines", "create" },
    { "GET", "/v1/apps/{app}/machines/{id}", "machines", "get" },
    { "POST", "/v1/apps/{app}/machines/{id}", "machines", "update" },
    { "DELETE", "/v1/apps/{app}/machines/{id}", "machines", "delete" },
    { "POST", "/v1/apps/{app}/machines/{id}/start", "machines", "start" },
    { "POST", "/v1/apps/{app}/machines/{id}/stop", "machines", "stop" },
    { "POST", "/v1/apps/{app}/machines/{id}/restart", "machines", "restart" },
    { "POST", "/v1/apps/{app}/machines/{id}/suspend", "machines", "suspend" },
    { "POST", "/v1/apps/{app}/machines/{id}/cordon", "machines", "cordon" },
    { "POST", "/v1/apps/{app}/machines/{id}/uncordon", "machines", "uncordon" },
    { "GET", "/v1/apps/{app}/machines/{id}/wait", "wait", "state" },
    { "GET", "/v1/apps/{app}/machines/{id}/events", "machines", "events" },
    { "GET", "/v1/apps/{app}/machines/{id}/metadata", "machines", "metadata" },
    { "POST", "/v1/apps/{app}/machines/{id}/metadata/{key}", "machines", "set_metadata" },
    { "DELETE", "/v1/apps/{app}/machines/{id}/metadata/{key}", "machines", "delete_metadata" },

    { "GET", "/v1/apps/{app}/machines/{id}/lease", "leases", "find" },
    { "POST", "/v1/apps/{app}/machines/{id}/lease", "leases", "acquire" },
    { "DELETE", "/v1/apps/{app}/machines/{id}/lease", "leases", "release" },

    { "GET", "/v1/apps/{app}/secrets", "secrets", "list" },
    { "POST", "/v1/apps/{app}/secrets", "secrets", "set_all" },
    { "GET", "/v1/apps/{app}/secrets/{name}", "secrets", "get" },
    { "POST", "/v1/apps/{app}/secrets/{name}", "secrets", "set" },
    { "DELETE", "/v1/apps/{app}/secrets/{name}", "secrets", "delete" },

    { "POST", "/api/v1/releases", "releases", "create" },
    { "PATCH", "/api/v1/releases/{release}", "releases", "patch" },
    { "GET", "/api/v1/apps/{app}/releases", "releases", "list" },
    { "GET", "/api/v1/apps/{app}/releases/current", "releases", "current" },
    { "GET", "/api/v1/apps/{app}/logs", "logs", "list" },

    { "HEAD", "/v2/{app}/manifests/{label}", "registry", "manifest" },
    { "GET", "/v2/{app}/manifests/{label}", "registry", "manifest" },

    { "POST", "/sandbox/v1/builds", "registry", "build" },
    { "POST", "/sandbox/v1/images", "registry", "register" },
    { "POST", "/sandbox/v1/faults", "faults", "add" },
    { "POST", "/sandbox/v1/apps/{app}/machines/{id}/tick", "machines", "tick" },
}

local function compile(route)
    local names = {}
    local pattern = "^" .. route[2]:gsub("[%-%.]", "%%%0"):gsub("{(%a+)}", function(name)
        names[#names + 1] = name
        return "([^/]+)"
    end) .. "$"
    return { method = route[1], pattern = pattern, names = names, module = route[3],
        action = route[4] }
end

local compiled
local function find(method, path)
    if not compiled then
        compiled = {}
        for i, route in ipairs(routes) do
            compiled[i] = compile(route)
        end
    end
    local other_method
    for _, route in ipairs(compiled) do
        local values = { path:match(route.pattern) }
        if values[1] then
            if route.method == method then
                local parameters = {}
                for i, name in ipairs(route.names) do
                    parameters[name] = values[i]
                end
                return route, parameters
            end
            other_method = true
        end
    end
    answer.fail(other_method and 405 or 404,
        other_method and "method not allowed" or "404 page not found")
end

---The token of any of the three ways to send it.
local function authenticate(world, request, path)
    local header = request.headers.authorization or ""
    if path:sub(1, 4) == "/v2/" then
        local expected = require("host.digest").base64("x:" .. world.token)
        if header == "Basic " .. expected then
            return
        end
    end
    local token = header:gsub("^[Bb]earer ", ""):gsub("^FlyV1 ", "")
    if token ~= world.token then
        answer.fail(401, header == "" and "unauthorized: no token" or "unauthorized: unknown token")
    end
end

local function body_of(request)
    if request.body == "" then
        return nil
    end
    local ok, body = pcall(json.decode, request.body)
    if not ok or type(body) ~= "table" then
        answer.fail(400, "the body is not a JSON object")
    end
    return body
end

local function dispatch(world, request)
    local path = request.path
    authenticate(world, request, path)
    local route, parameters = find(request.method, path)
    local handler = require("sandbox." .. route.module)[route.action]
    local context = {
        parameters = parameters, query = request.query, headers = request.headers,
        nonce = request.headers["fly-machine-lease-nonce"],
    }
    if parameters.app and route.module ~= "registry" then
        context.app = require("sandbox.apps").find(world, parameters.app)
    end
    if parameters.id then
        context.machine = require("sandbox.machines").find(context.app, parameters.id)
    end
    return handler(world, context, body_of(request))
end

local function record(world, request, status)
    local line = ("%s %s %s"):format(request.method, request.path, status)
    world.requests[#world.requests + 1] = line
    if world.persist then
        fs.append(world.dir / "requests.log", line .. "\n")
    end
end

---@return integer status
---@return table? body
---@return table? headers
local function answer_of(world, request)
    local ok, body, status, headers = pcall(dispatch, world, request)
    if ok then
        return status or 200, body, headers
    end
    if answer.is(body) then
        return body.status, body.body
    end
    log.err("sandbox: " .. tostring(body) .. "\n" .. (type(body) == "table" and body.trace or ""))
    return 500, { error = "the sandbox failed: " .. tostring(body) }
end

function M.handle(world, request)
    local proxy = require "sandbox.proxy"
    if proxy.is_site(request) then
        return proxy.forward(world, request)
    end
    local fault = require("sandbox.faults").match(world, request)
    if fault and fault.when == "before" then
        record(world, request, fault.reset and "reset" or fault.status)
        return require("sandbox.faults").apply(fault, request)
    end
    local status, body, headers = answer_of(world, request)
    record(world, request, status)
    if fault then
        return require("sandbox.faults").apply(fault, request)
    end
    headers = headers or {}
    headers["Content-Type"] = "application/json"
    headers["fly-request-id"] = require("sandbox.world").ulid(world):lower() .. "-local"
    request:reply {
        status = status, headers = headers, body = body and json.encode(body) or "",
    }
end

return M
