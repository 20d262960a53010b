-- Releases by the web REST endpoints: graphql.md section 6.
local api = require "dgrun.fly.api"
local retry = require "dgrun.fly.retry"

local M = {}

local function newest(app)
    return M.list(app, 1)[1]
end

---Creates a release, once: when the answer is lost, a newer one of this image than before is it.
---@param app string
---@param release {image: string, definition: table, strategy: string}
---@return {id: string, version: integer}
function M.create(app, release)
    local before = newest(app)
    return retry.settled(function()
        return api.uiex("POST", "/api/v1/releases", {
            once = true,
            json = {
                app_name = app, build_id = 0, definition = release.definition,
                image = release.image, strategy = release.strategy:upper(),
            },
        }).release
    end, function()
        local now = newest(app)
        local is_ours = now and now.image_ref == release.image and now.in_progress
            and now.version > (before and before.version or 0)
        return is_ours and now or nil
    end)
end

---Setting the status that a release has already is fine.
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
        { json = { status = status, metadata = metadata }, repeatable = true })
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

local HISTORY = [[query($name: String!, $limit: Int!) {
    app(name: $name) {
        releasesUnprocessed(first: $limit) {
            nodes { id version status imageRef configDefinition createdAt user { email } }
        }
    }
}]]

---Releases with the configuration that each was made with, newest first.
---@param app string
---@param limit? integer 50
---@return {id: string, version: integer, status: string, imageRef: string,
---  configDefinition: table, createdAt: string}[]
function M.history(app, limit)
    local data = api.graphql(HISTORY, { name = app, limit = limit or 50 })
    return data.app.releasesUnprocessed.nodes
end

return M
