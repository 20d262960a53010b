-- Releases by the web REST endpoints: graphql.md section 6.
local api = require "dgrun.fly.api"

local M = {}

---@param app string
---@param release {image: string, definition: table, strategy: string}
---@return {id: string, version: integer}
function M.create(app, release)
    return api.uiex("POST", "/api/v1/releases", {
        json = {
            app_name = app, build_id = 0, definition = release.definition, image = release.image,
            strategy = release.strategy:upper(),
        },
    }).release
end

---@param id string
---@param status "running"|"complete"|"failed"|"interrupted"
---@param problem? string
function M.set_status(id, status, problem)
    local json = require "dgrun.json"
    local metadata = json.null
    if status ~= "running" then
        metadata = { post_deployment_info = { flyctl_version = "dgrun", error = problem } }
    end
    api.uiex("PATCH", "/api/v1/releases/" .. id,
        { json = { status = status, metadata = metadata } })
end

---@param app string
---@return table? # the newest completed one
function M.current(app)
    local release, status = api.uiex("GET", ("/api/v1/apps/%s/releases/current"):format(app),
        { ok = { [404] = true } })
    return status ~= 404 and release or nil
end

---@param app string
---@param limit? integer 25
---@return table[] newest first
function M.list(app, limit)
    return api.uiex("GET", ("/api/v1/apps/%s/releases"):format(app),
        { query = { limit = limit or 25 } }).releases
end

return M
