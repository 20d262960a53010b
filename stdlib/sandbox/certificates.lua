-- Certificates of host names: docs/fly/machines-api.md, section 12. No name leads to the local Fly,
-- so each one waits for its DNS.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local world_of = require "sandbox.world"

local M = {}

local STATUS = "Awaiting configuration"

local function kept(app)
    app.certificates = app.certificates or {}
    return app.certificates
end

local function find(context)
    local host = context.parameters.host
    return host, kept(context.app)[host] or answer.fail(404, "certificate not found")
end

local function summary(host, certificate)
    return {
        hostname = host, status = STATUS, configured = false, acme_requested = true,
        dns_provider = "", has_custom_certificate = false, has_fly_certificate = false,
        created_at = certificate.created_at, updated_at = certificate.created_at,
        acme_alpn_configured = false, acme_dns_configured = false, acme_http_configured = false,
        ownership_txt_configured = false,
    }
end

---What the DNS of the name would have to say.
local function requirements(app, host)
    local needed = { a = json.array {}, aaaa = json.array {}, cname = app.name .. ".fly.dev",
        ownership = { name = "_fly-ownership." .. host, app_value = "app-" .. app.id,
            org_value = "org-sandbox" },
        acme_challenge = { name = "_acme-challenge." .. host,
            target = host .. "." .. app.name .. ".flydns.net" } }
    for _, ip in ipairs(app.ips) do
        local kind = ip.ip:find(":", 1, true) and "aaaa" or "a"
        table.insert(needed[kind], ip.ip)
    end
    return needed
end

local function detail(app, host)
    return {
        hostname = host, status = STATUS, configured = false, acme_requested = true,
        dns_provider = "", certificates = json.array {}, validation_errors = json.array {},
        dns_requirements = requirements(app, host),
        validation = { alpn_configured = false, dns_configured = false, http_configured = false,
            ownership_txt_configured = false },
    }
end

function M.list(_, context)
    local list = json.array {}
    for host, certificate in pairs(kept(context.app)) do
        list[#list + 1] = summary(host, certificate)
    end
    table.sort(list, function(a, b) return a.hostname < b.hostname end)
    return { certificates = list, total_count = #list }
end

---POST /v1/apps/{app}/certificates/acme {hostname}
function M.create(world, context, body)
    local host = input.field(body, "hostname", "string")
    if not host or #host > 253 or not host:match "^[%w*][%w.-]*%.%w+$" then
        answer.fail(422, "Hostname is not a valid host name")
    elseif kept(context.app)[host] then
        answer.fail(422, "Hostname already exists on app")
    end
    kept(context.app)[host] = { created_at = clock.iso(world) }
    world_of.save(world)
    return detail(context.app, host), 201
end

function M.get(_, context)
    return detail(context.app, (find(context)))
end

---POST /v1/apps/{app}/certificates/{host}/check
function M.check(_, context)
    local found = detail(context.app, (find(context)))
    found.dns_records = { a = json.array {}, aaaa = json.array {}, cname = json.array {},
        resolved_addresses = json.array {} }
    return found
end

function M.delete(world, context)
    kept(context.app)[find(context)] = nil
    world_of.save(world)
    return nil, 204
end

return M
