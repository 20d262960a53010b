-- The part of Fly's GraphQL schema that deploys and common clients use: docs/fly/graphql.md,
-- section 3. The queries; app.lua and account.lua have the types, mutations.lua changes things.
local account = require "sandbox.graphql.account"
local answer = require "sandbox.answer"
local app_types = require "sandbox.graphql.app"
local apps = require "sandbox.apps"
local fields = require "sandbox.graphql.fields"
local json = require "dgrun.core.json"
local mutations = require "sandbox.graphql.mutations"
local platform = require "sandbox.platform"
local tokens = require "sandbox.tokens"

local function set(...)
    local result = {}
    for _, name in ipairs { ... } do
        result[name] = true
    end
    return result
end

local function find_app(context, name)
    tokens.guard(context.principal, name)
    return apps.find(context.world, name)
end

---The apps that a token may see.
local function apps_page(_, arguments, context)
    local list = {}
    local own = not arguments.organizationId
        or arguments.organizationId == account.organization.id
    for name, app in pairs(own and context.world.apps or {}) do
        list[#list + 1] = (context.principal.app or name) == name and not arguments.role and app
            or nil
    end
    table.sort(list, function(a, b) return a.name < b.name end)
    return fields.page(list, arguments)
end

local function region_list()
    local list = json.array {}
    for i, region in ipairs(platform.regions().regions) do
        list[i] = platform.region(region.code)
    end
    return list
end

local types = {
    PageInfo = { fields = fields.plain { hasNextPage = "Boolean!", hasPreviousPage = "Boolean!",
        startCursor = "String", endCursor = "String" } },
    Region = { fields = fields.plain { code = "String!", name = "String!", latitude = "Float",
        longitude = "Float", gatewayAvailable = "Boolean!", requiresPaidPlan = "Boolean!",
        deprecated = "Boolean!" } },
    PlatformInformation = { fields = fields.plain { requestRegion = "String",
        regions = "[Region!]!" } },
    Query = { fields = {
        app = { type = "App", arguments = { name = "String", id = "ID" },
            resolve = function(_, arguments, context)
                return find_app(context, arguments.name or arguments.id
                    or answer.fail(422, "app needs a name"))
            end },
        apps = { type = "AppConnection!", arguments = fields.page_arguments { active = "Boolean",
            organizationId = "ID", role = "String", type = "String" }, resolve = apps_page },
        appNameAvailable = { type = "Boolean!", arguments = { name = "String!" },
            resolve = function(_, arguments, context)
                return context.world.apps[arguments.name] == nil
            end },
        canPerformBluegreenDeployment = { type = "Boolean!", arguments = { name = "String!" },
            resolve = function(_, arguments, context)
                return find_app(context, arguments.name).bluegreen_refused ~= true
            end },
        viewer = { type = "Principal!", resolve = function(_, _, context)
            return account.viewer(context.principal)
        end },
        organizations = { type = "OrganizationConnection!",
            arguments = fields.page_arguments { admin = "Boolean" },
            resolve = function(_, arguments)
                return fields.page(json.array { account.organization }, arguments)
            end },
        organization = { type = "Organization", arguments = { slug = "String", name = "String" },
            resolve = function(_, arguments)
                return arguments.slug == account.organization.slug and account.organization
                    or answer.fail(404, "Could not find Organization")
            end },
        nearestRegion = { type = "Region", arguments = { wireguardGateway = "Boolean" },
            resolve = function() return platform.region(platform.regions().nearest) end },
        platform = { type = "PlatformInformation!", resolve = function()
            return { requestRegion = platform.regions().nearest, regions = region_list() }
        end },
        latestImageDetails = { type = "ImageVersion", arguments = { image = "String!",
            flyVersion = "String" }, resolve = function(_, arguments)
                return app_types.latest_image(arguments.image)
            end },
    } },
}
for _, part in ipairs { account.types, app_types.types, mutations.types } do
    for name, object in pairs(part) do
        types[name] = object
    end
end

return {
    types = types,
    unions = {
        Principal = { "User", "Macaroon" },
        AppRole = { "EmptyAppRole", "PostgresClusterAppRole" },
    },
    inputs = mutations.inputs,
    enums = {
        AddOnType = set("kubernetes", "planetscale", "sentry", "supabase", "tigris",
            "upstash_kafka", "upstash_redis", "upstash_vector"),
        AppState = set("PENDING", "DEPLOYED", "SUSPENDED"),
        DeploymentStrategy = set("BLUEGREEN", "CANARY", "IMMEDIATE", "ROLLING", "ROLLING_ONE",
            "SIMPLE"),
        IPAddressType = set("v4", "v6", "shared_v4", "private_v6"),
        OrganizationMemberRole = set("ADMIN", "MEMBER"),
        OrganizationType = set("PERSONAL", "SHARED"),
        PlatformVersionEnum = set("detached", "machines", "nomad"),
        RuntimeType = set("FIRECRACKER", "NOMAD"),
        ServiceHandlerType = set("HTTP", "TLS", "PG_TLS", "PROXY_PROTO", "TLS_HTTP"),
        ServiceProtocolType = set("TCP", "UDP"),
    },
}
