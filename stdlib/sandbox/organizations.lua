-- The one organization of the sandbox, and the machines of all its apps: docs/fly/graphql.md,
-- section 6, docs/fly/machines-api.md, section 12.
local answer = require "sandbox.answer"
local input = require "sandbox.input"
local json = require "dgrun.core.json"
local view = require "sandbox.machine_view"

local M = {}

local SLUG = "personal"
local PAGE, LARGEST_PAGE = 100, 1000

local function face()
    return {
        id = "org_sandbox", internal_numeric_id = 1, slug = SLUG, raw_slug = SLUG,
        name = "Personal", paid_plan = false, personal = true, billable = true,
        billing_status = "CURRENT", provisions_beta_extensions = false,
        remote_builder_image = "",
    }
end

local function check(slug)
    if slug ~= SLUG then
        answer.fail(404, "organization not found")
    end
end

function M.list()
    return { organizations = json.array { face() } }
end

function M.get(_, context)
    check(context.parameters.slug)
    return { organization = face() }
end

---Pages by the machines' ids: the cursor is the last one of the page before.
function M.machines(world, context)
    check(context.parameters.slug)
    local query = context.query
    local limit = input.integer(query, "limit", PAGE, 1, LARGEST_PAGE)
    local fits = view.filter(query)
    local all = json.array {}
    for _, app in pairs(world.apps) do
        for _, machine in pairs(app.machines) do
            if fits(machine) and machine.id > (query.cursor or "") then
                all[#all + 1] = view.of_organization(app, machine)
            end
        end
    end
    table.sort(all, function(a, b) return a.id < b.id end)
    local more = #all > limit
    for i = #all, limit + 1, -1 do
        all[i] = nil
    end
    local last = all[#all]
    return {
        machines = all, next_cursor = more and last.id or nil,
        last_machine_id = last and last.id or nil,
        last_updated_at = last and last.updated_at or nil, error_regions = json.array {},
    }
end

return M
