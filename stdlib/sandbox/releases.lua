-- The release API: docs/fly/graphql.md, section 6.
local answer = require "sandbox.answer"
local apps = require "sandbox.apps"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local tokens = require "sandbox.tokens"
local world_of = require "sandbox.world"

local M = {}

local strategies = { ROLLING = true, IMMEDIATE = true, CANARY = true, BLUEGREEN = true }
local statuses = { running = true, complete = true, failed = true, interrupted = true }
local finished = { complete = true, failed = true, interrupted = true }

local function face(release)
    return {
        id = release.id, version = release.version, status = release.status,
        stable = release.status == "complete", in_progress = not finished[release.status],
        strategy = release.strategy, user = "sandbox@example.com",
        created_at = release.created_at, image_ref = release.image_ref,
    }
end

---The app of a release, for those who may change it.
local function guarded(context, app)
    tokens.guard(context.principal, app.name)
    return app
end

function M.create(world, context, body)
    body = body or {}
    local app = guarded(context, apps.find(world, tostring(body.app_name)))
    if type(body.image) ~= "string" or body.image == "" then
        answer.fail(422, "image is required")
    elseif type(body.definition) ~= "table" then
        answer.fail(422, "definition is required")
    elseif not strategies[body.strategy] then
        answer.fail(422, "strategy is not one of ROLLING, IMMEDIATE, CANARY, BLUEGREEN")
    end
    local release = {
        id = "rel_" .. world_of.ulid(world), version = #app.releases + 1, status = "pending",
        strategy = body.strategy, created_at = clock.iso(world), image_ref = body.image,
        definition = body.definition,
    }
    table.insert(app.releases, release)
    world_of.save(world)
    return { release = face(release) }, 201
end

---@param world sandbox.world
---@param id string
---@return table release as it is kept
---@return table app
function M.find(world, id)
    for _, app in pairs(world.apps) do
        for _, release in ipairs(app.releases) do
            if release.id == id then
                return release, app
            end
        end
    end
    answer.fail(404, "release not found")
end

function M.patch(world, context, body)
    local release, app = M.find(world, context.parameters.release)
    guarded(context, app)
    if not body or not statuses[body.status] then
        answer.fail(422, "status is not one of running, complete, failed, interrupted")
    elseif finished[release.status] then
        answer.fail(422, "the release has finished")
    end
    release.status = body.status
    if body.metadata ~= json.null then
        release.metadata = body.metadata
    end
    if body.status == "complete" then
        app.status = "deployed"
    end
    world_of.save(world)
    return face(release)
end

function M.list(_, context)
    local limit = input.integer(context.query, "limit", 25, 1, 1000)
    local releases = json.array {}
    for i = #context.app.releases, 1, -1 do
        if #releases < limit then
            releases[#releases + 1] = face(context.app.releases[i])
        end
    end
    return { releases = releases }
end

---@param release table as it is kept
---@return boolean
function M.is_finished(release)
    return finished[release.status] == true
end

---The newest release that was completed.
function M.current_of(app)
    for i = #app.releases, 1, -1 do
        if app.releases[i].status == "complete" then
            return app.releases[i]
        end
    end
end

function M.current(_, context)
    return face(M.current_of(context.app) or answer.fail(404, "no release"))
end

---When each app was released last.
function M.all_current(world)
    local times = {}
    for name, app in pairs(world.apps) do
        local release = M.current_of(app)
        times[name] = release and release.created_at or nil
    end
    return times
end

return M
