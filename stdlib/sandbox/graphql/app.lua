-- An app as the GraphQL API shows it, with its releases, machines, addresses and images.
-- docs/fly/graphql.md, section 3.
local account = require "sandbox.graphql.account"
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local fields = require "sandbox.graphql.fields"
local images = require "sandbox.images"
local json = require "dgrun.core.json"
local platform = require "sandbox.platform"
local releases = require "sandbox.releases"

local M = {}

---A release as the API shows it.
---@param release table? as it is kept
function M.release(release)
    if not release then
        return nil
    end
    return {
        id = release.id, version = release.version, status = release.status,
        description = "Release", reason = "deploy", stable = release.status == "complete",
        inProgress = not releases.is_finished(release), imageRef = release.image_ref,
        configDefinition = release.definition, deploymentStrategy = release.strategy,
        createdAt = release.created_at, updatedAt = release.updated_at or release.created_at,
        user = account.user, evaluationId = "", metadata = release.metadata,
        config = release.definition and { definition = release.definition } or nil,
    }
end

local function current_release(app)
    return M.release(releases.current_of(app))
end

local function releases_of(app, arguments)
    local list = {}
    for i = #app.releases, 1, -1 do
        local release = app.releases[i]
        if not arguments.status or release.status == arguments.status then
            list[#list + 1] = M.release(release)
        end
    end
    return fields.page(list, arguments)
end

local function secrets_of(app)
    local list = json.array {}
    for name, secret in pairs(app.secrets) do
        list[#list + 1] = { id = app.id .. "/" .. name, name = name, digest = secret.digest,
            createdAt = secret.created_at }
    end
    table.sort(list, function(a, b) return a.name < b.name end)
    return list
end

---@param app table
---@param ip table as it is kept
function M.address(app, ip)
    local kind = ip.ip:find("^fdaa:") and "private_v6"
        or (ip.ip:find(":", 1, true) and "v6" or "v4")
    return { id = "ip_" .. ip.ip, address = ip.ip, type = kind, region = ip.region,
        createdAt = ip.created_at, serviceName = ip.service_name,
        network = { name = app.network or "default", organization = account.organization } }
end

local function shared_address(app)
    for _, ip in ipairs(app.ips) do
        if ip.shared then
            return ip.ip
        end
    end
end

local function addresses_of(app, arguments)
    local list = json.array {}
    for _, ip in ipairs(app.ips) do
        list[#list + 1] = not ip.shared and M.address(app, ip) or nil
    end
    return fields.page(list, arguments)
end

---@param world sandbox.world
---@param ref string?
function M.image(world, ref)
    local image = ref and images.resolve(world, ref)
    return image and {
        id = "img_" .. image.digest:sub(8, 23), digest = image.digest,
        ref = ("%s/%s:%s"):format(image.registry, image.repository, image.tag),
        absoluteRef = ("%s/%s@%s"):format(image.registry, image.repository, image.digest),
        label = image.tag, tag = image.tag, registry = image.registry,
        repository = image.repository, compressedSizeFull = ("%d"):format(image.bytes or 0),
        config = {}, configDigest = image.digest, manifest = {},
    } or nil
end

---Only of images that Fly itself publishes there is a newest one, and none of them is here.
---@param reference string
function M.latest_image(reference)
    answer.fail(404, "Unknown repository: " .. reference)
end

---The machines that exist, by id.
local function machines_of(app)
    local list = {}
    for _, machine in pairs(app.machines) do
        list[#list + 1] = machine.state ~= "destroyed" and machine or nil
    end
    table.sort(list, function(a, b) return a.id < b.id end)
    return list
end

local function machine_page(app, arguments)
    local list = json.array {}
    for i, machine in ipairs(machines_of(app)) do
        list[i] = {
            id = machine.id, name = machine.name, state = machine.state, region = machine.region,
            config = machine.config, instanceId = machine.instance_id, app = app,
            createdAt = machine.created_at, updatedAt = machine.updated_at,
            host = { id = "host_sandbox" },
            ips = fields.page(json.array { { id = "ip_" .. machine.id, family = "v6",
                kind = "privatenet", ip = machine.private_ip, maskSize = 112 } }, {}),
        }
    end
    return fields.page(list, arguments)
end

local function image_details(app)
    local machine = machines_of(app)[1]
    return machine and machine.image_ref or nil
end

local function handlers(port)
    local list = json.array {}
    for i, name in ipairs(port.handlers or {}) do
        list[i] = name:upper()
    end
    return list
end

local function service_face(service)
    local ports, limits = json.array {}, service.concurrency or {}
    for i, port in ipairs(service.ports or {}) do
        ports[i] = { port = port.port or port.start_port, handlers = handlers(port) }
    end
    return {
        description = "", protocol = (service.protocol or "tcp"):upper(),
        internalPort = service.internal_port or 0, ports = ports,
        softConcurrency = limits.soft_limit or 20, hardConcurrency = limits.hard_limit or 25,
    }
end

---The services of the app's machines, each once.
local function services_of(app)
    local list, seen = json.array {}, {}
    for _, machine in ipairs(machines_of(app)) do
        for _, service in ipairs(machine.config.services or {}) do
            local face = service_face(service)
            local key = face.protocol .. face.internalPort
            list[#list + 1] = not seen[key] and face or nil
            seen[key] = true
        end
    end
    return list
end

local function regions_of(app)
    local list, seen = json.array {}, {}
    for _, machine in ipairs(machines_of(app)) do
        list[#list + 1] = not seen[machine.region] and platform.region(machine.region) or nil
        seen[machine.region] = true
    end
    return list
end

local function config_of(app)
    local release = releases.current_of(app)
    return { definition = release and release.definition or {}, valid = true,
        errors = json.array {} }
end

---@param world sandbox.world
---@param app table
function M.lock(world, app)
    local lock = app.lock
    if lock and lock.expires > clock.now(world) then
        return { lockId = lock.id, expiration = clock.iso(world, lock.expires) }
    end
end

local function of_app(kind, resolve)
    return { type = kind, resolve = resolve }
end

local function host_name(app)
    return app.name .. ".fly.dev"
end

---No address is kept for what leaves the local Fly.
local EGRESS = { type = "EgressIPAddressConnection!", arguments = fields.page_arguments(),
    resolve = function(_, arguments) return fields.page(json.array {}, arguments) end }

local release_arguments = fields.page_arguments { status = "String" }

local release_fields = {
    id = "ID!", version = "Int!", description = "String!", reason = "String!", status = "String!",
    stable = "Boolean!", inProgress = "Boolean!", imageRef = "String",
    deploymentStrategy = "DeploymentStrategy!", createdAt = "ISO8601DateTime!",
    updatedAt = "ISO8601DateTime!", user = "User", revertedTo = "Int", evaluationId = "String",
}

M.types = {
    App = { fields = fields.plain({
        name = "String!", status = "String!", network = "String",
    }, {
        id = of_app("ID!", function(app) return app.name end),
        internalNumericId = of_app("Int!", function(app) return app.number or 0 end),
        hostname = of_app("String", host_name),
        appUrl = of_app("String", function(app) return "https://" .. host_name(app) end),
        cnameTarget = of_app("String", host_name),
        deployed = of_app("Boolean!", function(app) return app.status == "deployed" end),
        state = of_app("AppState!", function(app) return app.status:upper() end),
        version = of_app("Int!", function(app) return #app.releases end),
        platformVersion = of_app("PlatformVersionEnum", function() return "machines" end),
        organization = of_app("Organization!", function() return account.organization end),
        role = of_app("AppRole", function()
            return { __typename = "EmptyAppRole", id = "role_none", name = "FlyApp" }
        end),
        config = of_app("AppConfig!", config_of),
        services = of_app("[Service!]!", services_of),
        regions = of_app("[Region!]!", regions_of),
        imageDetails = of_app("ImageVersion", image_details),
        latestImageDetails = of_app("ImageVersion", function(app) M.latest_image(app.name) end),
        currentRelease = of_app("Release", current_release),
        currentReleaseUnprocessed = of_app("ReleaseUnprocessed", current_release),
        releases = { type = "ReleaseConnection!", arguments = release_arguments,
            resolve = releases_of },
        releasesUnprocessed = { type = "ReleaseUnprocessedConnection!",
            arguments = release_arguments, resolve = releases_of },
        machines = { type = "MachineConnection!",
            arguments = fields.page_arguments { active = "Boolean" }, resolve = machine_page },
        secrets = of_app("[Secret!]!", secrets_of),
        ipAddresses = { type = "IPAddressConnection!", arguments = fields.page_arguments(),
            resolve = addresses_of },
        egressIpAddresses = EGRESS,
        sharedIpAddress = of_app("String", shared_address),
        image = { type = "Image", arguments = { ref = "String!" },
            resolve = function(_, arguments, context)
                return M.image(context.world, arguments.ref)
            end },
        limitedAccessTokens = { type = "LimitedAccessTokenConnection!",
            arguments = fields.page_arguments(),
            resolve = function(app, arguments, context)
                return account.tokens_of(context.world, app.name, arguments)
            end },
        currentLock = of_app("AppLock", function(app, _, context)
            return M.lock(context.world, app)
        end),
    }) },
    AppConfig = { fields = fields.plain { definition = "JSON!", valid = "Boolean!",
        errors = "[String!]!" } },
    AppRole = { fields = fields.plain { id = "ID!", name = "String!" } },
    EmptyAppRole = { fields = fields.plain { id = "ID!", name = "String!" } },
    PostgresClusterAppRole = { fields = fields.plain { id = "ID!", name = "String!",
        databases = "[PostgresClusterDatabase!]!", users = "[PostgresClusterUser!]!" } },
    PostgresClusterDatabase = { fields = fields.plain { name = "String!", users = "[String!]!" } },
    PostgresClusterUser = { fields = fields.plain { username = "String!", databases = "[String!]!",
        isSuperuser = "Boolean!" } },
    AppLock = { fields = fields.plain { lockId = "ID!", expiration = "ISO8601DateTime!" } },
    Release = { fields = fields.plain(release_fields, {
        metadata = { type = "JSON" }, config = { type = "AppConfig" },
    }) },
    ReleaseUnprocessed = { fields = fields.plain(release_fields, {
        configDefinition = { type = "JSON" },
        image = { type = "Image", resolve = function(release, _, context)
            return M.image(context.world, release.imageRef)
        end },
    }) },
    Secret = { fields = fields.plain { id = "ID!", name = "String!", digest = "String!",
        createdAt = "ISO8601DateTime!" } },
    Service = { fields = fields.plain { description = "String!", protocol = "ServiceProtocolType!",
        internalPort = "Int!", ports = "[ServicePort!]!", softConcurrency = "Int!",
        hardConcurrency = "Int!" } },
    ServicePort = { fields = fields.plain { port = "Int!", handlers = "[ServiceHandlerType!]!" } },
    Machine = { fields = fields.plain({ id = "ID!", name = "String!", state = "String!",
        region = "String!", config = "JSON!", instanceId = "String!", app = "App!",
        createdAt = "ISO8601DateTime!", updatedAt = "ISO8601DateTime!", host = "Host!",
        ips = "MachineIPConnection!" }, { egressIpAddresses = EGRESS }) },
    MachineIP = { fields = fields.plain { id = "ID!", family = "String!", kind = "String!",
        ip = "String!", maskSize = "Int!" } },
    Host = { fields = fields.plain { id = "ID!" } },
    IPAddress = { fields = fields.plain { id = "ID!", address = "String!", type = "IPAddressType!",
        region = "String", createdAt = "ISO8601DateTime!", serviceName = "String",
        network = "Network" } },
    Network = { fields = fields.plain { name = "String!", organization = "Organization!" } },
    EgressIPAddress = { fields = fields.plain { id = "ID!", ip = "String!", version = "Int!",
        region = "String!", updatedAt = "ISO8601DateTime!" } },
    Image = { fields = fields.plain {
        id = "ID!", digest = "String!", ref = "String!", absoluteRef = "String!",
        label = "String!", registry = "String!", repository = "String!", tag = "String",
        compressedSizeFull = "BigInt!", config = "JSON!", configDigest = "JSON!",
        manifest = "JSON!",
    } },
    ImageVersion = { fields = fields.plain { registry = "String!", repository = "String!",
        tag = "String!", version = "String", digest = "String!" } },
}
for _, name in ipairs { "App", "Release", "ReleaseUnprocessed", "Machine", "MachineIP",
    "IPAddress", "EgressIPAddress" } do
    fields.add_connection(M.types, name)
end

return M
