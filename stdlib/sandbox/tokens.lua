-- Who may do what: the token of the sandbox may do everything, a deploy token what concerns its
-- app. docs/fly/machines-api.md, section 2.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local digest = require "host.digest"
local input = require "sandbox.input"
local world_of = require "sandbox.world"

local M = {}

local DEFAULT_SECONDS = 20 * 365 * 86400

---The tokens of a header: schemes in front, several with commas.
local function tokens_of(header)
    local found = {}
    for part in header:gmatch("[^,]+") do
        local before
        repeat
            before = part
            part = part:match("^%s*(.-)%s*$"):gsub("^[Bb]earer ", ""):gsub("^FlyV1 ", "")
        until part == before
        found[#found + 1] = part
    end
    return found
end

---@param header string
---@return {app: string?} principal
function M.authenticate(world, path, header)
    if path:sub(1, 4) == "/v2/" and header == "Basic " .. digest.base64("x:" .. world.token)
    then
        return {}
    end
    for _, token in ipairs(tokens_of(header)) do
        if token == world.token then
            return {}
        end
        local known = world.tokens[digest.sha256(token)]
        if known and known.expires > clock.now(world) then
            return { app = known.app }
        end
    end
    answer.fail(401, header == "" and "unauthorized: no token" or "unauthorized: unknown token")
end

---Refuses a deploy token of another app.
function M.guard(principal, app)
    if principal.app and principal.app ~= app then
        answer.fail(403, "unauthorized: the token is for another app")
    end
end

---POST /v1/apps/{app}/deploy_token {expiry?: duration}
function M.create(world, context, body)
    local expiry = input.field(body, "expiry", "string")
    local seconds = DEFAULT_SECONDS
    if expiry and expiry ~= "" then
        seconds = input.duration(expiry)
            or answer.fail(400, "invalid_argument: expiry is not a duration")
    end
    local token = "fm2_" .. digest.sha256(
        ("deploy %d %s"):format(world_of.next_number(world), world.token))
    world.tokens[digest.sha256(token)] = {
        app = context.app.name, expires = clock.now(world) + seconds,
    }
    world_of.save(world)
    return { token = "FlyV1 " .. token }
end

function M.current(_, context)
    return { tokens = { {
        token_id = "1", organization = "Personal", org_slug = "personal",
        user = "sandbox@example.com", apps = { context.principal.app or "*" },
    } } }
end

return M
