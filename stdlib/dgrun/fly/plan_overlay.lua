-- Apps that a plan would create: what is asked of one is answered as of a new one, so that the rest
-- of the plan can go on.
local json = require "dgrun.core.json"
local run = require "dgrun.run.context"

local M = {}

---@class dgrun.fly.pretended
---@field apps table<string, string> their organisations
---@field addresses table<string, string[]> kinds, by app

---@type table<dgrun.run, dgrun.fly.pretended> of each plan
local pretended = setmetatable({}, { __mode = "k" })

---@return dgrun.fly.pretended? # nil outside of a plan
local function of_plan()
    local current = run.current()
    if not current or not current.plan then
        return nil
    end
    pretended[current] = pretended[current] or { apps = {}, addresses = {} }
    return pretended[current]
end

---From here on this app is there, in a plan.
---@param app string
---@param org string
function M.app(app, org)
    local plan = of_plan()
    if plan then
        plan.apps[app] = org
    end
end

---From here on this app has an address of this kind, in a plan.
---@param app string
---@param kind string
function M.address(app, kind)
    local plan = of_plan()
    if plan then
        plan.addresses[app] = plan.addresses[app] or {}
        table.insert(plan.addresses[app], kind)
    end
end

---@param app string
---@return string[] kinds
function M.addresses(app)
    local plan = of_plan()
    return plan and plan.addresses[app] or {}
end

local answers = {
    [""] = function(app, org)
        return { id = app, name = app, status = "pending", machine_count = 0, volume_count = 0,
            network = "default", organization = { slug = org } }
    end,
    ["/machines"] = function() return json.array {} end,
    ["/volumes"] = function() return json.array {} end,
    ["/secrets"] = function() return { secrets = json.array {} } end,
    ["/ip_assignments"] = function() return { ips = json.array {} } end,
    ["/releases"] = function() return { releases = json.array {} } end,
}

---What a question about a pretended app is answered; nothing about other apps.
---@param method string
---@param path string
---@return any body
---@return integer? status
function M.answer(method, path)
    local plan = method == "GET" and of_plan()
    if not plan then
        return nil
    end
    local apps = plan.apps
    local app, rest = path:match("^/v1/apps/([^/?]+)([^?]*)$")
    if not app then
        app, rest = path:match("^/api/v1/apps/([^/?]+)([^?]*)$")
    end
    if not apps[app] then
        return nil
    elseif answers[rest] then
        return answers[rest](app, apps[app]), 200
    end
    return nil, 404
end

return M
