-- The records of builds that clients send: docs/fly/graphql.md, section 6. What an image is made of
-- comes from registry.lua.
local answer = require "sandbox.answer"
local apps = require "sandbox.apps"
local clock = require "sandbox.clock"
local input = require "sandbox.input"
local tokens = require "sandbox.tokens"
local world_of = require "sandbox.world"

local M = {}

local finished = { completed = true, failed = true }

local function app_of(world, context, body)
    local name = input.field(body, "app_name", "string") or ""
    tokens.guard(context.principal, name)
    return apps.find(world, name)
end

local function face(build)
    return { id = build.id, status = build.status, wallclock_time_ms = build.milliseconds }
end

function M.create(world, context, body)
    local app = app_of(world, context, body)
    app.builds = app.builds or {}
    local build = { id = world_of.next_number(world), status = "started", milliseconds = 0,
        began = clock.now(world) }
    table.insert(app.builds, build)
    world_of.save(world)
    return face(build)
end

---The local Fly has no builder: the token is good for none.
function M.ensure_depot_builder(world, context, body)
    app_of(world, context, body)
    return { build_id = ("build_%d"):format(world_of.next_number(world)), build_token = "none" }
end

function M.finish(world, context, body)
    local app = app_of(world, context, body)
    local status = input.field(body, "status", "string")
    if not finished[status or ""] then
        answer.fail(422, "status must be completed or failed")
    end
    for _, build in ipairs(app.builds or {}) do
        if build.id == tonumber(body.build_id) then
            build.status = status
            build.milliseconds = math.floor((clock.now(world) - build.began) * 1000)
            world_of.save(world)
            return face(build)
        end
    end
    answer.fail(404, "build not found")
end

return M
