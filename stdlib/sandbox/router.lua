-- From a request to its handler: authentication, faults on request, JSON in and out.
local answer = require "sandbox.answer"
local apps = require "sandbox.apps"
local clock = require "sandbox.clock"
local exchanges = require "sandbox.exchanges"
local faults = require "sandbox.faults"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local lifetime = require "sandbox.lifetime"
local limits = require "sandbox.limits"
local log = require "host.log"
local machines = require "sandbox.machines"
local proxy = require "sandbox.proxy"
local routes = require "sandbox.routes"
local tokens = require "sandbox.tokens"
local world_of = require "sandbox.world"

local M = {}

---The modules that routes name.
local modules = {
    actions = require "sandbox.actions", addresses = require "sandbox.addresses", apps = apps,
    behaviour = require "sandbox.behaviour", builds = require "sandbox.builds",
    certificates = require "sandbox.certificates",
    clock_requests = require "sandbox.clock_requests", exchanges = exchanges,
    exec = require "sandbox.exec", faults = faults, graphql = require "sandbox.graphql",
    leases = require "sandbox.leases", lifetime = lifetime, logs = require "sandbox.logs",
    machines = machines,
    metadata = require "sandbox.metadata", organizations = require "sandbox.organizations",
    platform = require "sandbox.platform", registry = require "sandbox.registry",
    releases = require "sandbox.releases", schedules = require "sandbox.schedules",
    secrets = require "sandbox.secrets", snapshots = require "sandbox.snapshots",
    standbys = require "sandbox.standbys", tokens = tokens,
    volumes = require "sandbox.volumes", wait = require "sandbox.wait",
}

local SESSION = "fly-session"

---Reads can be sent to any server; the cookie brings them to the one that knows what was written.
local function session_of(world, headers)
    local found = (headers.cookie or ""):match("fly%-session=(%w+)")
    return found or world_of.ulid(world):lower(), found == nil
end

local function dispatch(world, request, headers, session)
    local path = request.path
    local principal = tokens.authenticate(world, path,
        headers.authorization or "")
    local route, parameters = routes.find(request.method, path)
    limits.check(world, route, parameters)
    local handler = modules[route.module][route.action]
    local context = {
        parameters = parameters, query = input.query(request.query), session = session,
        nonce = headers["fly-machine-lease-nonce"], principal = principal,
    }
    if parameters.app and route.module ~= "registry" then
        tokens.guard(principal, parameters.app)
        context.app = apps.find(world, parameters.app)
    end
    if parameters.id then
        context.machine = machines.find(world, context.app, parameters.id)
    end
    return handler(world, context, input.body(request.body))
end

---What a request is answered.
---@return {status: integer, body: string, headers: table<string, string>}
---@return string session
function M.answer(world, request)
    local sent = input.headers(request.headers)
    local session, is_new = session_of(world, sent)
    local ok, body, status, headers = pcall(dispatch, world, request, sent, session)
    if not ok and answer.is(body) then
        body, status, headers = body.body, body.status, body.headers
        body.error = input.clean(body.error)
        body.message = body.message and input.clean(body.message)
    elseif not ok then
        log.err("sandbox: " .. tostring(body) .. "\n"
            .. (type(body) == "table" and body.trace or ""))
        body, status, headers = { error = "the sandbox failed: " .. tostring(body) }, 500, nil
    end
    local all = { ["Content-Type"] = "application/json", Date = clock.http(world),
        ["fly-request-id"] = world_of.ulid(world):lower() .. "-local" }
    for name, value in pairs(headers or {}) do
        all[name] = value
    end
    if is_new then
        all["Set-Cookie"] = ("%s=%s; Path=/; HttpOnly"):format(SESSION, session)
    end
    -- A handler may answer the text itself.
    local text = type(body) == "string" and body or body and json.encode(body) or ""
    return { status = status or 200, headers = all, body = text }, session
end

local function handle(world, request)
    if proxy.is_site(request) then
        local mishap = faults.match_site(world, request)
        if mishap and not mishap.late then
            return faults.apply(mishap, request)
        elseif mishap then
            clock.sleep(mishap.seconds)
        end
        return proxy.forward(world, request)
    end
    if world.latency > 0 then
        clock.sleep(world.latency)
    end
    local fault = faults.match(world, request)
    if fault and fault.late then
        clock.sleep(fault.seconds)
        fault = nil
    end
    if fault and fault.when == "before" then
        exchanges.record(world, request, fault.reset and "reset" or fault.status or 500)
        return faults.apply(fault, request)
    end
    local real, session = M.answer(world, request)
    exchanges.record(world, request, real.status, session)
    if fault then
        return faults.apply(fault, request, real)
    end
    exchanges.write(world, request, real.status, real.body)
    request:reply(real)
end

---Answers one request, whatever it is.
function M.handle(world, request)
    lifetime.during(world, function() handle(world, request) end)
end

return M
