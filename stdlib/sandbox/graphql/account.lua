-- Who uses the local Fly: its one user and organization, and their tokens. docs/fly/graphql.md,
-- section 3.
local clock = require "sandbox.clock"
local fields = require "sandbox.graphql.fields"
local json = require "dgrun.core.json"
local tokens = require "sandbox.tokens"

local M = {}

M.user = { __typename = "User", id = "usr_sandbox", email = "sandbox@example.com",
    name = "Sandbox", enablePaidHobby = false }

M.organization = { __typename = "Organization", id = "org_sandbox", internalNumericId = "1",
    slug = "personal", rawSlug = "personal", name = "Personal", type = "PERSONAL",
    paidPlan = false, billable = true, viewerRole = "admin", remoteBuilderImage = "",
    provisionsBetaExtensions = false }

---Who asks.
function M.viewer(principal)
    return principal.app and { __typename = "Macaroon", id = "macaroon",
        email = "deploy-token@example.com", name = "deploy token" } or M.user
end

---A token as the API shows it: never the token itself.
local function token_face(world, token)
    return { id = token.id, name = token.name, user = M.user, organization = M.organization,
        expiresAt = clock.iso(world, token.expires) }
end

---The tokens of an app, or those of the organization.
---@param app? string
function M.tokens_of(world, app, arguments)
    local list = json.array {}
    for _, token in ipairs(tokens.list(world, app)) do
        list[#list + 1] = token_face(world, token)
    end
    return fields.page(list, arguments)
end

---The token that was made just now: this once it is shown.
function M.new_token(world, text, token)
    local face = token_face(world, token)
    face.token, face.tokenHeader = text, "FlyV1 " .. text
    return face
end

---@param arguments table
function M.members(arguments)
    return fields.page(json.array { M.user }, arguments, function()
        return { joinedAt = "2020-01-01T00:00:00Z", role = "ADMIN" }
    end)
end

local principal = { id = "ID", email = "String!", name = "String" }

M.types = {
    User = { fields = fields.plain { id = "ID!", email = "String!", name = "String",
        enablePaidHobby = "Boolean!" } },
    Macaroon = { fields = fields.plain(principal) },
    Principal = { fields = fields.plain(principal) },
    Organization = { fields = fields.plain({
        id = "ID!", internalNumericId = "BigInt!", slug = "String!", rawSlug = "String!",
        name = "String!", type = "OrganizationType!", paidPlan = "Boolean!",
        billable = "Boolean!", viewerRole = "String!", remoteBuilderImage = "String!",
        provisionsBetaExtensions = "Boolean!",
    }, {
        members = { type = "OrganizationMembershipsConnection!",
            arguments = fields.page_arguments(),
            resolve = function(_, arguments) return M.members(arguments) end },
        addOns = { type = "AddOnConnection!",
            arguments = fields.page_arguments { type = "AddOnType" },
            resolve = function(_, arguments) return fields.page(json.array {}, arguments) end },
        limitedAccessTokens = { type = "LimitedAccessTokenConnection!",
            arguments = fields.page_arguments(),
            resolve = function(_, arguments, context)
                return M.tokens_of(context.world, nil, arguments)
            end },
    }) },
    -- None exists here.
    AddOn = { fields = fields.plain { id = "ID!", name = "String", status = "String",
        primaryRegion = "String", readRegions = "[String!]", hostname = "String",
        privateIp = "String", publicUrl = "String", ssoLink = "String", errorMessage = "String",
        options = "JSON", metadata = "JSON", environment = "JSON", app = "App",
        organization = "Organization!", addOnPlan = "AddOnPlan",
        addOnProvider = "AddOnProvider" } },
    AddOnPlan = { fields = fields.plain { id = "ID!", name = "String", displayName = "String",
        description = "String" } },
    AddOnProvider = { fields = fields.plain { id = "ID!", name = "String",
        displayName = "String" } },
    LimitedAccessToken = { fields = fields.plain { id = "ID!", name = "String!", token = "String!",
        tokenHeader = "String", expiresAt = "ISO8601DateTime!", revokedAt = "ISO8601DateTime",
        user = "User!", organization = "Organization!" } },
}
fields.add_connection(M.types, "Organization")
fields.add_connection(M.types, "AddOn")
fields.add_connection(M.types, "LimitedAccessToken")
fields.add_connection(M.types, "User", { joinedAt = "ISO8601DateTime!",
    role = "OrganizationMemberRole!" }, "OrganizationMemberships")

return M
