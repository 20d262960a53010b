-- The part of Fly's GraphQL schema that deploys and common clients use: docs/fly/graphql.md,
-- section 3. Types and queries; mutations.lua changes things.
local answer = require "sandbox.answer"
local apps = require "sandbox.apps"
local images = require "sandbox.images"
local json = require "dgrun.core.json"
local mutations = require "sandbox.graphql.mutations"
local platform = require "sandbox.platform"
local releases = require "sandbox.releases"
local tokens = require "sandbox.tokens"

local function set(...)
    local result = {}
    for _, name in ipairs { ... } do
        result[name] = true
    end
    return result
end

---Fields that are read from the source as they are.
local function plain(fields)
    local result = {}
    for name, kind in pairs(fields) do
        result[name] = { type = kind }
    end
    return result
end

local function with(fields, more)
    local result = plain(fields)
    for name, field in pairs(more) do
        result[name] = field
    end
    return result
end

local USER = { __typename = "User", id = "usr_sandbox", email = "sandbox@example.com",
    name = "Sandbox" }

local ORGANIZATION = { id = "org_sandbox", internalNumericId = "1", slug = "personal",
    rawSlug = "personal", name = "Personal", type = "PERSONAL", paidPlan = false, billable = true,
    viewerRole = "admin" }

local function release_of(release)
    if not release then
        return nil
    end
    return {
        id = release.id, version = release.version, status = release.status,
        description = "Release", reason = "deploy", stable = release.status == "complete",
        inProgress = not releases.is_finished(release), imageRef = release.image_ref,
        configDefinition = release.definition, deploymentStrategy = release.strategy,
        createdAt = release.created_at, updatedAt = release.updated_at or release.created_at,
        user = USER, evaluationId = "", metadata = release.metadata,
        config = { definition = release.definition },
    }
end

local function page(list, arguments)
    local from, to = 1, #list
    if arguments.first then
        to = math.min(to, arguments.first)
    elseif arguments.last then
        from = math.max(1, #list - arguments.last + 1)
    end
    local nodes = json.array {}
    for i = from, to do
        nodes[#nodes + 1] = list[i]
    end
    return { nodes = nodes, totalCount = #list }
end

local function releases_of(app, arguments)
    local list = {}
    for i = #app.releases, 1, -1 do
        local release = app.releases[i]
        if not arguments.status or release.status == arguments.status then
            list[#list + 1] = release_of(release)
        end
    end
    return page(list, arguments)
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

local function address_of(ip)
    local kind = ip.ip:find("^fdaa:") and "private_v6"
        or (ip.ip:find(":", 1, true) and "v6" or "v4")
    return { id = "ip_" .. ip.ip, address = ip.ip, type = kind, region = ip.region,
        createdAt = ip.created_at, serviceName = ip.service_name }
end

local function shared_address(app)
    for _, ip in ipairs(app.ips) do
        if ip.shared then
            return ip.ip
        end
    end
end

local function addresses_of(app)
    local nodes = json.array {}
    for _, ip in ipairs(app.ips) do
        nodes[#nodes + 1] = not ip.shared and address_of(ip) or nil
    end
    return { nodes = nodes, totalCount = #nodes }
end

local function image_of(world, ref)
    local image = images.resolve(world, ref)
    return image and {
        id = "img_" .. image.digest:sub(8, 23), digest = image.digest,
        ref = ("%s/%s:%s"):format(image.registry, image.repository, image.tag),
        absoluteRef = ("%s/%s@%s"):format(image.registry, image.repository, image.digest),
        label = image.tag, tag = image.tag, registry = image.registry,
        repository = image.repository, compressedSizeFull = ("%d"):format(image.bytes or 0),
        config = {}, configDigest = image.digest, manifest = {},
    }
end

local function find_app(context, name)
    tokens.guard(context.principal, name)
    return apps.find(context.world, name)
end

local function regions()
    local list = json.array {}
    for i, region in ipairs(platform.regions().regions) do
        list[i] = { code = region.code, name = region.name,
            gatewayAvailable = region.gateway_available }
    end
    return list
end

local release_arguments = { first = "Int", last = "Int", after = "String", before = "String",
    status = "String" }

local release_fields = {
    id = "ID!", version = "Int!", description = "String!", reason = "String!", status = "String!",
    stable = "Boolean!", inProgress = "Boolean!", imageRef = "String",
    deploymentStrategy = "DeploymentStrategy!", createdAt = "ISO8601DateTime!",
    updatedAt = "ISO8601DateTime!", user = "User", revertedTo = "Int", evaluationId = "String",
}

local function current_of(app)
    return release_of(releases.current_of(app))
end

local types = {
    App = { fields = with({
        id = "ID!", name = "String!", status = "String!", network = "String",
    }, {
        id = { type = "ID!", resolve = function(app) return app.name end },
        internalNumericId = { type = "BigInt!", resolve = function(app)
            return tostring(app.number or 0)
        end },
        hostname = { type = "String", resolve = function(app) return app.name .. ".fly.dev" end },
        appUrl = { type = "String", resolve = function(app)
            return "https://" .. app.name .. ".fly.dev"
        end },
        deployed = { type = "Boolean!", resolve = function(app)
            return app.status == "deployed"
        end },
        state = { type = "AppState!", resolve = function(app) return app.status:upper() end },
        version = { type = "Int!", resolve = function(app) return #app.releases end },
        platformVersion = { type = "PlatformVersion", resolve = function() return "machines" end },
        cnameTarget = { type = "String", resolve = function(app)
            return app.name .. ".fly.dev"
        end },
        organization = { type = "Organization!", resolve = function() return ORGANIZATION end },
        role = { type = "AppRole", resolve = function() return { name = "FlyApp" } end },
        currentRelease = { type = "Release", resolve = current_of },
        currentReleaseUnprocessed = { type = "ReleaseUnprocessed", resolve = current_of },
        releases = { type = "ReleaseConnection!", arguments = release_arguments,
            resolve = releases_of },
        releasesUnprocessed = { type = "ReleaseUnprocessedConnection!",
            arguments = release_arguments, resolve = releases_of },
        secrets = { type = "[Secret!]!", resolve = secrets_of },
        ipAddresses = { type = "IPAddressConnection!", arguments = { first = "Int" },
            resolve = addresses_of },
        sharedIpAddress = { type = "String", resolve = shared_address },
        image = { type = "Image", arguments = { ref = "String!" },
            resolve = function(_, arguments, context)
                return image_of(context.world, arguments.ref)
            end },
        currentLock = { type = "AppLock", resolve = function(app, _, context)
            return mutations.lock_of(context.world, app)
        end },
    }) },
    Organization = { fields = plain {
        id = "ID!", internalNumericId = "BigInt!", slug = "String!", rawSlug = "String!",
        name = "String!", type = "OrganizationType!", paidPlan = "Boolean!",
        billable = "Boolean!", viewerRole = "String!",
    } },
    OrganizationConnection = { fields = plain { nodes = "[Organization!]!",
        totalCount = "Int!" } },
    AppRole = { fields = plain { name = "String!" } },
    Release = { fields = with(release_fields, {
        metadata = { type = "JSON" }, config = { type = "AppConfig" },
    }) },
    AppConfig = { fields = plain { definition = "JSON" } },
    ReleaseUnprocessed = { fields = with(release_fields, {
        configDefinition = { type = "JSON" },
        image = { type = "Image", resolve = function(release, _, context)
            return image_of(context.world, release.imageRef)
        end },
    }) },
    ReleaseConnection = { fields = plain { nodes = "[Release!]!", totalCount = "Int!" } },
    ReleaseUnprocessedConnection = { fields = plain { nodes = "[ReleaseUnprocessed!]!",
        totalCount = "Int!" } },
    Secret = { fields = plain { id = "ID!", name = "String!", digest = "String!",
        createdAt = "ISO8601DateTime!" } },
    IPAddress = { fields = plain { id = "ID!", address = "String!", type = "IPAddressType!",
        region = "String", createdAt = "ISO8601DateTime!", serviceName = "String" } },
    IPAddressConnection = { fields = plain { nodes = "[IPAddress!]!", totalCount = "Int!" } },
    Image = { fields = plain {
        id = "ID!", digest = "String!", ref = "String!", absoluteRef = "String!",
        label = "String!", registry = "String!", repository = "String!", tag = "String",
        compressedSizeFull = "BigInt!", config = "JSON", configDigest = "String",
        manifest = "JSON!",
    } },
    ImageVersion = { fields = plain { registry = "String!", repository = "String!",
        tag = "String!", version = "String", digest = "String!" } },
    AppLock = { fields = plain { lockId = "ID!", expiration = "ISO8601DateTime!" } },
    User = { fields = plain { id = "ID!", email = "String!", name = "String" } },
    Macaroon = { fields = plain { id = "ID!", email = "String!" } },
    Region = { fields = plain { code = "String!", name = "String!",
        gatewayAvailable = "Boolean!" } },
    PlatformInformation = { fields = plain { requestRegion = "String",
        regions = "[Region!]!" } },
    Query = { fields = {
        app = { type = "App", arguments = { name = "String", id = "ID" },
            resolve = function(_, arguments, context)
                return find_app(context, arguments.name or arguments.id
                    or answer.fail(422, "app needs a name"))
            end },
        appNameAvailable = { type = "Boolean!", arguments = { name = "String!" },
            resolve = function(_, arguments, context)
                return context.world.apps[arguments.name] == nil
            end },
        canPerformBluegreenDeployment = { type = "Boolean!", arguments = { name = "String!" },
            resolve = function(_, arguments, context)
                return find_app(context, arguments.name).bluegreen_refused ~= true
            end },
        viewer = { type = "Principal!", resolve = function(_, _, context)
            return context.principal.app and { __typename = "Macaroon", id = "macaroon",
                email = "deploy-token@example.com" } or USER
        end },
        organizations = { type = "OrganizationConnection!", arguments = { admin = "Boolean" },
            resolve = function() return { nodes = { ORGANIZATION }, totalCount = 1 } end },
        organization = { type = "Organization", arguments = { slug = "String", name = "String" },
            resolve = function(_, arguments)
                return arguments.slug == ORGANIZATION.slug and ORGANIZATION
                    or answer.fail(404, "Could not find Organization")
            end },
        nearestRegion = { type = "Region", resolve = function()
            local nearest = platform.regions().nearest
            for _, region in ipairs(regions()) do
                if region.code == nearest then
                    return region
                end
            end
        end },
        platform = { type = "PlatformInformation!", resolve = function()
            return { requestRegion = platform.regions().nearest, regions = regions() }
        end },
        -- Only images that Fly itself publishes have one.
        latestImageDetails = { type = "ImageVersion", arguments = { image = "String!",
            flyVersion = "String" }, resolve = function() return nil end },
    } },
}
for name, object in pairs(mutations.types) do
    types[name] = object
end

return {
    types = types,
    unions = { Principal = { "User", "Macaroon" } },
    inputs = mutations.inputs,
    enums = {
        DeploymentStrategy = set("BLUEGREEN", "CANARY", "IMMEDIATE", "ROLLING", "ROLLING_ONE",
            "SIMPLE"),
        IPAddressType = set("v4", "v6", "shared_v4", "private_v6"),
        AppState = set("PENDING", "DEPLOYED", "SUSPENDED"),
        PlatformVersion = set("detached", "machines", "nomad"),
        OrganizationType = set("PERSONAL", "SHARED"),
        RuntimeType = set("FIRECRACKER", "NOMAD"),
    },
}
