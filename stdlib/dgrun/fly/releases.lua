-- Releases by the web REST endpoints: docs/fly/graphql.md, section 6.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local retry = require "dgrun.fly.retry"

local M = {}

local function newest(app)
    return M.list(app, 1)[1]
end

---Notes in a machine's metadata which release it belongs to. `dgrun_release` tells whose deploy the
---commit there is of: a deploy of flyctl changes fly_release_id and leaves both.
---@param metadata table<string, string>
---@param release {id: string, version: integer}
---@return table<string, string> metadata
function M.note(metadata, release)
    metadata.fly_release_id = release.id
    metadata.fly_release_version = tostring(release.version)
    metadata.dgrun_release = release.id
    return metadata
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
    local release, status = api.uiex("GET", api.path("/api/v1/apps/%s/releases/current", app),
        { ok = { [404] = true } })
    return status ~= 404 and release or nil
end

---@param app string
---@param limit? integer 25
---@return table[] newest first
function M.list(app, limit)
    return api.uiex("GET", api.path("/api/v1/apps/%s/releases", app),
        { query = { limit = limit or 25 } }).releases
end

local HISTORY = [[query($name: String!, $limit: Int!) {
    app(name: $name) {
        releasesUnprocessed(first: $limit) {
            nodes {
                id version status description reason imageRef configDefinition createdAt
                user { email name }
            }
        }
    }
}]]

---Releases with the configuration that each was made with, newest first.
---@param app string
---@param limit? integer 50
---@return {id: string, version: integer, status: string, imageRef: string,
---  configDefinition: table, createdAt: string, description: string, reason: string,
---  user: table}[]
function M.history(app, limit)
    local data = api.graphql(HISTORY, { name = app, limit = limit or 50 })
    return data.app.releasesUnprocessed.nodes
end

---@class dgrun.fly.release.row
---@field id string
---@field version integer
---@field status string
---@field created_at string
---@field user? string who made it
---@field image? string
---@field commit? string that dgrun deployed with it
---@field run? string of dgrun that made it
---@field description? string

local function text(value)
    return type(value) == "string" and value ~= "" and value or nil
end

---What a person wants to know of each, as data, newest first.
---@param opts {app: string, limit?: integer} limit: 25
---@return dgrun.fly.release.row[]
function M.overview(opts)
    check.options(opts, { app = "string", limit = "integer?" }, "fly.releases.overview")
    machines.app(opts.app)
    local rows = json.array {}
    for i, release in ipairs(M.history(opts.app, opts.limit or 25)) do
        local definition = release.configDefinition
        local note = type(definition) == "table" and type(definition.dgrun) == "table"
            and definition.dgrun or {}
        local user = type(release.user) == "table" and release.user or {}
        rows[i] = {
            id = release.id, version = release.version, status = release.status,
            created_at = release.createdAt, user = text(user.email) or text(user.name),
            image = text(release.imageRef), commit = text(note.commit), run = text(note.run),
            description = text(release.description) or text(release.reason),
        }
    end
    return rows
end

return M
