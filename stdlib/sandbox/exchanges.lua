-- What was asked and answered: a list for tests, and, where DGRUN_EXCHANGES names a file, whole
-- exchanges as JSON lines, to be held against Fly's formal specification.
local fs = require "host.fs"
local input = require "sandbox.input"
local json = require "dgrun.core.json"

local M = {}

local LISTED = 10000
local HIDDEN = "secret"

---Secret values as others of the same type, in place.
local function hide(value)
    if type(value) == "string" then
        return HIDDEN
    elseif type(value) == "table" then
        for name, item in pairs(value) do
            value[name] = hide(item)
        end
    end
    return value
end

local function without_secrets(path, text)
    local ok, body = pcall(json.decode, text)
    if not ok then
        return nil
    end
    if type(body) == "table" and path:find("/secrets") then
        body.values, body.value = hide(body.values), hide(body.value)
    elseif type(body) == "table" and path:find("token") then
        body.token, body.header = hide(body.token), hide(body.header)
    end
    return body
end

---@param status integer|string "reset" where no answer was sent
---@param session? string tells one client from another
function M.record(world, request, status, session)
    local line = ("%s %s %s %s"):format(request.method, input.clean(request.path), status,
        session or "-")
    world.requests[#world.requests + 1] = line
    if #world.requests > 2 * LISTED then
        local newest = {}
        for i = 1, LISTED do
            newest[i] = world.requests[#world.requests - LISTED + i]
        end
        world.requests = newest
    end
    if world.persist then
        fs.append(world.dir / "requests.log", line .. "\n")
    end
end

---@param text string the body of the answer
function M.write(world, request, status, text)
    local api = request.path:sub(1, 4) == "/v1/" or request.path:sub(1, 8) == "/api/v1/"
    if not world.exchanges or not api then
        return
    end
    local path = input.clean(request.path)
    local ok, line = pcall(json.encode, {
        method = request.method, path = path, query = request.query, status = status,
        nonce = input.headers(request.headers)["fly-machine-lease-nonce"],
        request = request.body ~= "" and without_secrets(path, input.clean(request.body)) or nil,
        response = text ~= "" and without_secrets(path, text) or nil,
    })
    if ok then
        fs.append(world.exchanges, line .. "\n")
    end
end

---GET /sandbox/v1/requests: those since the start, or the newest 10,000 and more; oldest first
function M.list(world)
    local requests = json.array {}
    for i, line in ipairs(world.requests) do
        local method, path, status, session = line:match("^(%S+) (.*) (%S+) (%S+)$")
        requests[i] = { method = method, path = path, status = tonumber(status) or status,
            session = session ~= "-" and session or nil }
    end
    return { requests = requests }
end

return M
