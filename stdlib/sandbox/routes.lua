-- Every address that the sandbox serves, and the function behind it.
local answer = require "sandbox.answer"

local M = {}

---{method, pattern, module, function}; a pattern's {name} becomes a parameter
local routes = {
    { "GET", "/v1/apps", "apps", "list" },
    { "POST", "/v1/apps", "apps", "create" },
    { "GET", "/v1/apps/{app}", "apps", "get" },
    { "DELETE", "/v1/apps/{app}", "apps", "delete" },
    { "POST", "/v1/apps/{app}/deploy_token", "tokens", "create" },
    { "GET", "/v1/apps/{app}/ip_assignments", "addresses", "list" },
    { "POST", "/v1/apps/{app}/ip_assignments", "addresses", "assign" },
    { "DELETE", "/v1/apps/{app}/ip_assignments/{ip}", "addresses", "release" },

    { "GET", "/v1/apps/{app}/volumes", "volumes", "list" },
    { "POST", "/v1/apps/{app}/volumes", "volumes", "create" },
    { "GET", "/v1/apps/{app}/volumes/{volume}", "volumes", "get" },
    { "PUT", "/v1/apps/{app}/volumes/{volume}", "volumes", "update" },
    { "DELETE", "/v1/apps/{app}/volumes/{volume}", "volumes", "delete" },
    { "PUT", "/v1/apps/{app}/volumes/{volume}/extend", "volumes", "extend" },
    { "GET", "/v1/apps/{app}/volumes/{volume}/snapshots", "snapshots", "list" },
    { "POST", "/v1/apps/{app}/volumes/{volume}/snapshots", "snapshots", "create" },

    { "GET", "/v1/apps/{app}/certificates", "certificates", "list" },
    { "POST", "/v1/apps/{app}/certificates/acme", "certificates", "create" },
    { "GET", "/v1/apps/{app}/certificates/{host}", "certificates", "get" },
    { "DELETE", "/v1/apps/{app}/certificates/{host}", "certificates", "delete" },
    { "POST", "/v1/apps/{app}/certificates/{host}/check", "certificates", "check" },

    { "POST", "/graphql", "graphql", "run" },

    { "GET", "/v1/platform/regions", "platform", "regions" },
    { "POST", "/v1/platform/placements", "platform", "placements" },
    { "GET", "/v1/tokens/current", "tokens", "current" },
    { "GET", "/v1/orgs/{slug}/machines", "organizations", "machines" },

    { "GET", "/v1/apps/{app}/machines", "machines", "list" },
    { "POST", "/v1/apps/{app}/machines", "machines", "create" },
    { "GET", "/v1/apps/{app}/machines/{id}", "machines", "get" },
    { "POST", "/v1/apps/{app}/machines/{id}", "machines", "update" },
    { "DELETE", "/v1/apps/{app}/machines/{id}", "machines", "delete" },
    { "GET", "/v1/apps/{app}/machines/{id}/versions", "machines", "versions" },
    { "GET", "/v1/apps/{app}/machines/{id}/events", "machines", "events" },
    { "POST", "/v1/apps/{app}/machines/{id}/start", "actions", "start" },
    { "POST", "/v1/apps/{app}/machines/{id}/stop", "actions", "stop" },
    { "POST", "/v1/apps/{app}/machines/{id}/restart", "actions", "restart" },
    { "POST", "/v1/apps/{app}/machines/{id}/suspend", "actions", "suspend" },
    { "POST", "/v1/apps/{app}/machines/{id}/signal", "actions", "signal" },
    { "POST", "/v1/apps/{app}/machines/{id}/cordon", "actions", "cordon" },
    { "POST", "/v1/apps/{app}/machines/{id}/uncordon", "actions", "uncordon" },
    { "POST", "/v1/apps/{app}/machines/{id}/exec", "exec", "run" },
    { "GET", "/v1/apps/{app}/machines/{id}/ps", "exec", "ps" },
    { "GET", "/v1/apps/{app}/machines/{id}/wait", "wait", "state" },

    { "GET", "/v1/apps/{app}/machines/{id}/metadata", "metadata", "all" },
    { "PUT", "/v1/apps/{app}/machines/{id}/metadata", "metadata", "replace" },
    { "PATCH", "/v1/apps/{app}/machines/{id}/metadata", "metadata", "merge" },
    { "GET", "/v1/apps/{app}/machines/{id}/metadata/{key}", "metadata", "get" },
    { "POST", "/v1/apps/{app}/machines/{id}/metadata/{key}", "metadata", "set" },
    { "DELETE", "/v1/apps/{app}/machines/{id}/metadata/{key}", "metadata", "delete" },

    { "GET", "/v1/apps/{app}/machines/{id}/lease", "leases", "find" },
    { "POST", "/v1/apps/{app}/machines/{id}/lease", "leases", "acquire" },
    { "DELETE", "/v1/apps/{app}/machines/{id}/lease", "leases", "release" },

    { "GET", "/v1/apps/{app}/secrets", "secrets", "list" },
    { "POST", "/v1/apps/{app}/secrets", "secrets", "set_all" },
    { "GET", "/v1/apps/{app}/secrets/{name}", "secrets", "get" },
    { "POST", "/v1/apps/{app}/secrets/{name}", "secrets", "set" },
    { "DELETE", "/v1/apps/{app}/secrets/{name}", "secrets", "delete" },

    { "GET", "/api/v1/releases/all_current", "releases", "all_current" },
    { "POST", "/api/v1/releases", "releases", "create" },
    { "PATCH", "/api/v1/releases/{release}", "releases", "patch" },
    { "GET", "/api/v1/apps/{app}/releases", "releases", "list" },
    { "GET", "/api/v1/apps/{app}/releases/current", "releases", "current" },
    { "GET", "/api/v1/apps/{app}/logs", "logs", "list" },
    { "GET", "/api/v1/organizations", "organizations", "list" },
    { "GET", "/api/v1/organizations/{slug}", "organizations", "get" },
    { "POST", "/api/v1/builds", "builds", "create" },
    { "POST", "/api/v1/builds/finish", "builds", "finish" },
    { "POST", "/api/v1/builds/depot_builder", "builds", "ensure_depot_builder" },

    { "GET", "/v2/", "registry", "version" },
    { "HEAD", "/v2/{app}/manifests/{label}", "registry", "manifest" },
    { "GET", "/v2/{app}/manifests/{label}", "registry", "manifest" },

    { "POST", "/sandbox/v1/apps", "apps", "ensure_all" },
    { "POST", "/sandbox/v1/stop", "lifetime", "stop" },
    { "POST", "/sandbox/v1/builds", "registry", "build" },
    { "POST", "/sandbox/v1/images", "registry", "register" },
    { "POST", "/sandbox/v1/faults", "faults", "add" },
    { "DELETE", "/sandbox/v1/faults", "faults", "clear" },
    { "GET", "/sandbox/v1/requests", "exchanges", "list" },
    { "GET", "/sandbox/v1/clock", "clock_requests", "show" },
    { "POST", "/sandbox/v1/clock", "clock_requests", "advance" },
    { "POST", "/sandbox/v1/apps/{app}/machines/{id}/tick", "schedules", "tick" },
    { "POST", "/sandbox/v1/apps/{app}/machines/{id}/behaviour", "behaviour", "set" },
    { "POST", "/sandbox/v1/apps/{app}/machines/{id}/host", "standbys", "set_host" },
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

local compiled = {}
for i, route in ipairs(routes) do
    compiled[i] = compile(route)
end

---@return {method: string, pattern: string}[] # as a list for tests
function M.all()
    return routes
end

---@param method string
---@param path string
---@return table route
---@return table<string, string> parameters
function M.find(method, path)
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

return M
