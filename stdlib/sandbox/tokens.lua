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

---What clients of a registry send: the token as the password of the user x.
local function basic(token)
    return "Basic " .. digest.base64("x:" .. token)
end

---Who sends such a header; nil where nobody does.
local function of_basic(world, header)
    if header == basic(world.token) then
        return {}
    end
    local wanted = digest.sha256(header)
    for _, known in pairs(world.tokens) do
        if known.expires > clock.now(world)
            and (known.basic == wanted or known.basic_scheme == wanted) then
            return { app = known.app }
        end
    end
end

---@param header string
---@return {app: string?} principal
function M.authenticate(world, path, header)
    local principal = path:sub(1, 4) == "/v2/" and of_basic(world, header)
    if principal then
        return principal
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

local function bytes_of(hex)
    return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

---Where tokens that allow something come from; clients look at it.
local LOCATION = "https://api.fly.io/v1"

---A macaroon as Fly's clients parse one: MessagePack of [[key, random, is a proof], location,
---caveats, tail]. What it allows is kept here, so it has no caveats.
---@param seed string
---@return string
local function macaroon(seed)
    local random, tail = bytes_of(digest.sha256("nonce " .. seed)), bytes_of(digest.sha256(seed))
    return "\x94\x93\xc4\x07sandbox\xc4\x10" .. random:sub(1, 16) .. "\xc2"
        .. string.char(0xa0 + #LOCATION) .. LOCATION .. "\x90\xc4\x20" .. tail
end

---Makes a token.
---@param world sandbox.world
---@param grant {app?: string, name?: string, expiry?: string} app: the only one that it is for
---@return string text "fm2_…"
---@return {id: string, name: string, app?: string, expires: number}
function M.grant(world, grant)
    local seconds = DEFAULT_SECONDS
    if grant.expiry and grant.expiry ~= "" then
        seconds = input.duration(grant.expiry)
            or answer.fail(400, "invalid_argument: expiry is not a duration")
    end
    local number = world_of.next_number(world)
    local text = "fm2_" .. digest.base64(macaroon(("deploy %d %s"):format(number, world.token)))
    local token = { id = ("tok_%d"):format(number), name = grant.name or "deploy token",
        app = grant.app, expires = clock.now(world) + seconds,
        basic = digest.sha256(basic(text)), basic_scheme = digest.sha256(basic("FlyV1 " .. text)) }
    world.tokens[digest.sha256(text)] = token
    world_of.save(world)
    return text, token
end

---The tokens of an app, or of the organization, that have not expired; the oldest first.
---@param world sandbox.world
---@param app? string
---@return table[]
function M.list(world, app)
    local list = {}
    for _, token in pairs(world.tokens) do
        -- Earlier versions gave them no id.
        list[#list + 1] = token.id and token.app == app and token.expires > clock.now(world)
            and token or nil
    end
    table.sort(list, function(a, b) return tonumber(a.id:sub(5)) < tonumber(b.id:sub(5)) end)
    return list
end

---POST /v1/apps/{app}/deploy_token {expiry?: duration}
function M.create(world, context, body)
    local text = M.grant(world, { app = context.app.name,
        expiry = input.field(body, "expiry", "string") })
    return { token = "FlyV1 " .. text }
end

function M.current(_, context)
    return { tokens = { {
        token_id = "1", organization = "Personal", org_slug = "personal",
        user = "sandbox@example.com", apps = { context.principal.app or "*" },
    } } }
end

return M
