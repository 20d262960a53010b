-- Mutations of the GraphQL API. Each is done by the function behind the REST endpoint.
local account = require "sandbox.graphql.account"
local addresses = require "sandbox.addresses"
local answer = require "sandbox.answer"
local app_types = require "sandbox.graphql.app"
local apps = require "sandbox.apps"
local clock = require "sandbox.clock"
local json = require "dgrun.core.json"
local releases = require "sandbox.releases"
local secrets = require "sandbox.secrets"
local tokens = require "sandbox.tokens"
local world_of = require "sandbox.world"

local M = {}

local LOCK_SECONDS = 15 * 60

local function app_context(context, id)
    tokens.guard(context.principal, id)
    return {
        app = apps.find(context.world, id), principal = context.principal,
        query = {}, parameters = {},
    }
end

M.inputs = {
    CreateReleaseInput = {
        appId = "ID!", image = "String!", definition = "JSON!", platformVersion = "String!",
        strategy = "DeploymentStrategy!", buildId = "ID", clientMutationId = "String",
    },
    UpdateReleaseInput = { releaseId = "ID!", status = "String", metadata = "JSON",
        clientMutationId = "String" },
    SecretInput = { key = "String!", value = "String!" },
    SetSecretsInput = { appId = "ID!", secrets = "[SecretInput!]!", replaceAll = "Boolean",
        clientMutationId = "String" },
    UnsetSecretsInput = { appId = "ID!", keys = "[String!]!", clientMutationId = "String" },
    CreateAppInput = {
        organizationId = "ID!", name = "String", network = "String", machines = "Boolean",
        preferredRegion = "String", appRoleId = "String", enableSubdomains = "Boolean",
        runtime = "RuntimeType", heroku = "Boolean", clientMutationId = "String",
    },
    AllocateIPAddressInput = {
        appId = "ID!", type = "IPAddressType!", region = "String", organizationId = "ID",
        network = "String", serviceName = "String", clientMutationId = "String",
    },
    LockAppInput = { appId = "ID!", clientMutationId = "String" },
    CreateLimitedAccessTokenInput = { name = "String!", organizationId = "ID!",
        profile = "String!", profileParams = "JSON", expiry = "String",
        clientMutationId = "String" },
    ValidateWireGuardPeersInput = { peerIps = "[String!]!", clientMutationId = "String" },
    UnlockAppInput = { appId = "ID!", lockId = "ID!", clientMutationId = "String" },
}

local function payload(fields)
    fields.clientMutationId = { type = "String" }
    return { fields = fields }
end

local function create_release(_, arguments, context)
    local input = arguments.input
    local made = releases.create(context.world,
        { principal = context.principal }, {
            app_name = input.appId, image = input.image, definition = input.definition,
            strategy = input.strategy,
        })
    return { release = app_types.release(releases.find(context.world, made.release.id)),
        clientMutationId = input.clientMutationId }
end

local function update_release(_, arguments, context)
    local input = arguments.input
    releases.patch(context.world,
        { principal = context.principal, parameters = { release = input.releaseId } },
        { status = input.status, metadata = input.metadata or json.null })
    return { release = app_types.release(releases.find(context.world, input.releaseId)) }
end

local function set_secrets(_, arguments, context)
    local input, values = arguments.input, {}
    local of_app = app_context(context, input.appId)
    for name in pairs(input.replaceAll and of_app.app.secrets or {}) do
        values[name] = json.null
    end
    for _, secret in ipairs(input.secrets) do
        values[secret.key] = secret.value
    end
    secrets.set_all(context.world, of_app, { values = values })
    return { app = of_app.app }
end

local function unset_secrets(_, arguments, context)
    local values = {}
    for _, name in ipairs(arguments.input.keys) do
        values[name] = json.null
    end
    local of_app = app_context(context, arguments.input.appId)
    secrets.set_all(context.world, of_app, { values = values })
    return { app = of_app.app }
end

local function create_app(_, arguments, context)
    local input = arguments.input
    if context.principal.app then
        answer.fail(403, "Not authorized to create an app")
    elseif input.organizationId ~= account.organization.id then
        answer.fail(404, "Could not find Organization")
    end
    local made = apps.create(context.world, {},
        { name = input.name, network = input.network, org_slug = "personal" })
    return { app = context.world.apps[made.name] }
end

local function allocate_address(_, arguments, context)
    local input = arguments.input
    local of_app = app_context(context, input.appId)
    local ip = addresses.assign(context.world, of_app,
        { type = input.type, region = input.region, service_name = input.serviceName })
    return {
        app = of_app.app,
        ipAddress = not ip.shared and app_types.address(of_app.app, ip) or nil,
    }
end

local function lock_app(_, arguments, context)
    local app = app_context(context, arguments.input.appId).app
    if app_types.lock(context.world, app) then
        answer.fail(422, "App is already locked")
    end
    app.lock = { id = world_of.ulid(context.world),
        expires = clock.now(context.world) + LOCK_SECONDS }
    world_of.save(context.world)
    return app_types.lock(context.world, app)
end

local function unlock_app(_, arguments, context)
    local app = app_context(context, arguments.input.appId).app
    local lock = app_types.lock(context.world, app)
    if not lock or lock.lockId ~= arguments.input.lockId then
        answer.fail(422, "App is not locked with this id")
    end
    app.lock = nil
    world_of.save(context.world)
    return { app = app }
end

local function delete_app(_, arguments, context)
    apps.delete(context.world, app_context(context, arguments.appId))
    return { organization = account.organization }
end

---For one app with the profile "deploy", else for the organization.
local function create_token(_, arguments, context)
    local input = arguments.input
    local app
    if input.profile == "deploy" then
        local parameters = type(input.profileParams) == "table" and input.profileParams or {}
        app = app_context(context, tostring(parameters.app_id)).app.name
    elseif input.profile ~= "deploy_organization" or context.principal.app then
        answer.fail(422, ("the local Fly makes no tokens of the profile %s"):format(
            input.profile))
    end
    local text, token = tokens.grant(context.world, { app = app, name = input.name,
        expiry = input.expiry })
    return { limitedAccessToken = account.new_token(context.world, text, token) }
end

---The local Fly has no WireGuard, so no peer is valid.
local function validate_peers(_, arguments)
    return { invalidPeerIps = arguments.input.peerIps, validPeerIps = json.array {} }
end

local function mutation(payload_type, input, resolve)
    return { type = payload_type, arguments = { input = input .. "!" }, resolve = resolve }
end

M.types = {
    Mutation = { fields = {
        createRelease = mutation("CreateReleasePayload", "CreateReleaseInput", create_release),
        updateRelease = mutation("UpdateReleasePayload", "UpdateReleaseInput", update_release),
        setSecrets = mutation("SetSecretsPayload", "SetSecretsInput", set_secrets),
        unsetSecrets = mutation("UnsetSecretsPayload", "UnsetSecretsInput", unset_secrets),
        createApp = mutation("CreateAppPayload", "CreateAppInput", create_app),
        allocateIpAddress = mutation("AllocateIPAddressPayload", "AllocateIPAddressInput",
            allocate_address),
        lockApp = mutation("LockAppPayload", "LockAppInput", lock_app),
        deleteApp = { type = "DeleteAppPayload", arguments = { appId = "ID!" },
            resolve = delete_app },
        createLimitedAccessToken = mutation("CreateLimitedAccessTokenPayload",
            "CreateLimitedAccessTokenInput", create_token),
        validateWireGuardPeers = mutation("ValidateWireGuardPeersPayload",
            "ValidateWireGuardPeersInput", validate_peers),
        unlockApp = mutation("UnlockAppPayload", "UnlockAppInput", unlock_app),
    } },
    CreateReleasePayload = payload { release = { type = "Release" } },
    UpdateReleasePayload = payload { release = { type = "Release" } },
    SetSecretsPayload = payload { app = { type = "App!" }, release = { type = "Release" } },
    UnsetSecretsPayload = payload { app = { type = "App!" }, release = { type = "Release" } },
    CreateAppPayload = payload { app = { type = "App!" } },
    AllocateIPAddressPayload = payload { app = { type = "App!" },
        ipAddress = { type = "IPAddress" } },
    LockAppPayload = payload { lockId = { type = "ID" },
        expiration = { type = "ISO8601DateTime" } },
    DeleteAppPayload = payload { organization = { type = "Organization" } },
    CreateLimitedAccessTokenPayload = payload {
        limitedAccessToken = { type = "LimitedAccessToken" } },
    ValidateWireGuardPeersPayload = payload { invalidPeerIps = { type = "[String!]" },
        validPeerIps = { type = "[String!]" } },
    UnlockAppPayload = payload { app = { type = "App!" } },
}

return M
