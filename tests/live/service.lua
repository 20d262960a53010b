-- One Fly, the real one or a local one, that is asked what the scenario asks. It keeps the answers,
-- and changes nothing but the app that it created itself.
local fly = require "host.fly"
local json = require "dgrun.core.json"
local secret = require "host.secret"
local task = require "dgrun.core.task"

local M = {}

local TRIES, PAUSE = 40, 1.5

---@class live.answer
---@field step string
---@field status integer
---@field body any

---@class live.service
---@field app string
---@field org string
---@field path string of the app
---@field image string
---@field answers live.answer[]
---@field releases table<string, true> ids of those that this run made
---@field waits integer so far
---@field created boolean the app is there, and this run made it
local Service = {}
Service.__index = Service

---@param name string
---@return boolean
function M.is_throwaway(name)
    return #name <= 63 and name:match "^dgrun%-live%-[a-z0-9-]*[a-z0-9]$" ~= nil
end

---@param opts {app: string, org: string, image: string, token: any, machines_url?: string,
---  api_url?: string, uiex_url?: string}
---@return live.service
function M.new(opts)
    assert(M.is_throwaway(opts.app), "not a name of a throwaway app")
    local function session(token)
        return fly.session { token = token, machines_url = opts.machines_url,
            api_url = opts.api_url, uiex_url = opts.uiex_url }
    end
    return setmetatable({ app = opts.app, org = opts.org, image = opts.image,
        path = "/v1/apps/" .. opts.app, session = session(opts.token),
        stranger = session(secret.new("UNKNOWN_TOKEN", "fo1_a_token_that_nobody_knows")),
        answers = {}, releases = {}, waits = 0, created = false }, Service)
end

local reads = { GET = true, HEAD = true }

---May this run send it? Nothing is changed outside of the app that it created.
function Service:is_own(method, path, body)
    local below = self.path .. "/"
    local creates = path:match "^[^?]*" == "/v1/apps" and body and body.name == self.app
    return reads[method] or creates
        or self.created and (path:match "^[^?]*" == self.path or path:sub(1, #below) == below
            or path:sub(1, 8) == "/api/v1/" and body and body.app_name == self.app
            or self.releases[path:match "^/api/v1/releases/([^/]+)$" or ""])
end

local function sent(session, request)
    for _ = 1, TRIES do
        local answer, e = session:request(request)
        if not answer then
            error(e, 0)
        elseif answer.status ~= 429 then
            return answer
        end
        task.sleep(PAUSE)
    end
    error("the service refuses all requests: too many", 0)
end

local function body_of(answer)
    local ok, body = pcall(json.decode, answer.text)
    return ok and body or nil
end

---@class live.how
---@field api? "machines"|"api"|"uiex" "machines"
---@field nonce? string
---@field stranger? boolean with a token that nobody knows
---@field unrecorded? boolean

---@param step string for people; each has its own
---@return any body
---@return integer status
function Service:ask(step, method, path, body, how)
    how = how or {}
    assert(self:is_own(method, path, body), "refused to send " .. method .. " " .. path)
    local answer = sent(how.stranger and self.stranger or self.session, {
        api = how.api or "machines", method = method, path = path, nonce = how.nonce,
        body = body and json.encode(body) or nil,
    })
    local found = body_of(answer)
    if not how.unrecorded then
        self:note(step, answer.status, found)
    end
    if path:match "^[^?]*" == "/v1/apps" and method == "POST" and answer.status < 300 then
        self.created = true
    end
    return found, answer.status
end

---@param query string no mutation
---@return table? data
function Service:graphql(step, query, variables)
    assert(not query:find "mutation", "refused to send a mutation")
    local answer = assert(self.session:graphql { document = query,
        variables = json.encode(variables or {}) })
    local body = body_of(answer)
    self:note(step, answer.status, body)
    return type(body) == "table" and type(body.data) == "table" and body.data or nil
end

---Something to be compared that is not an answer by itself.
function Service:note(step, status, body)
    table.insert(self.answers, { step = step, status = status, body = body })
end

---Destroys what this run created.
function Service:clean_up()
    if self.created then
        local _, status = self:ask("clean up", "DELETE", self.path .. "?force=true", nil,
            { unrecorded = true })
        self.created = status >= 300 and status ~= 404
        return not self.created
    end
    return true
end

return M
