-- Apps and their addresses: docs/fly/machines-api.md, section 4. Creating and destroying converge,
-- also after an answer that was lost.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local pretend = require "dgrun.fly.plan_overlay"
local retry = require "dgrun.fly.retry"
local run = require "dgrun.run.context"
local store = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@class dgrun.fly.app
---@field name string
---@field status string "pending" before its first deploy
---@field network string
---@field organization {slug: string}
---@field machine_count integer

---@class dgrun.fly.apps.address
---@field ip string
---@field kind "v4"|"shared_v4"|"v6"|"private_v6"

local WAIT_SECONDS = 60
local kinds = { v4 = true, shared_v4 = true, v6 = true, private_v6 = true }

local function path(app, rest)
    return api.path("/v1/apps/%s", app) .. (rest or "")
end

---@param op string
local function check_name(app, op)
    if not app:match("^[a-z0-9][a-z0-9-]*$") or #app > 63 then
        err.raise { code = "input.invalid", op = op,
            msg = ("%s: '%s' is not a valid app name"):format(op, app),
            hint = "App names contain a-z, 0-9, and -, at most 63 characters." }
    end
end

---The apps of an organisation.
---@param opts? {org?: string} org: its slug, "personal" when absent
---@return dgrun.fly.app[] sorted by name
function M.list(opts)
    opts = check.options(opts or {}, { org = "string?" }, "fly.apps.list")
    local org = opts.org or "personal"
    local body, status = api.machines("GET", "/v1/apps",
        { query = { org_slug = org }, ok = { [404] = true } })
    if status == 404 then
        err.raise { code = "fly.no_organization", op = "fly.apps.list",
            msg = ("Fly has no organization '%s', or the token has no access to it"):format(org),
            hint = api.is_sandbox() and "The local Fly has one organization: personal."
                or "fly orgs list shows the slugs." }
    end
    local apps = body.apps
    table.sort(apps, function(a, b) return a.name < b.name end)
    return apps
end

---@param app string
---@return dgrun.fly.app? # nil when there is none; one of somebody else is an error
function M.find(app)
    check_name(app, "fly.apps.find")
    local body, status = api.machines("GET", path(app), { ok = { [403] = true, [404] = true } })
    if status == 403 then
        err.raise { code = "fly.name_taken", op = "fly.apps", app = app,
            msg = ("an app '%s' exists, but this token has no access to it"):format(app),
            hint = "App names are unique across all of Fly. Choose another name or another token: "
                .. "creating apps needs a token of the organization"
                .. (api.is_sandbox() and "." or " (fly tokens create org).") }
    end
    return status ~= 404 and body or nil
end

---Until an app is there, or gone: a while after the answer.
local function wait_for(app, there)
    local now = time.now
    local deadline = now() + api.pace(WAIT_SECONDS)
    while true do
        local ok, found = pcall(M.find, app)
        if not ok and not err.is(found, "fly.unauthorized") then
            err.raise(found)
        elseif ok and (found ~= nil) == there then
            return found
        elseif now() >= deadline then
            err.raise { code = "fly.timeout", op = "fly.apps", app = app,
                msg = ("app %s is %s after %d s"):format(app,
                    there and "missing" or "still there", WAIT_SECONDS),
                hint = "Run it again; completed steps are skipped." }
        end
        task.sleep(api.pace(1))
    end
end

local function create(opts)
    local ok, e = pcall(retry.settled, function()
        return api.machines("POST", "/v1/apps", { once = true, query = { wait = "true" },
            json = { name = opts.app, org_slug = opts.org or "personal", network = opts.network } })
    end, function() return M.find(opts.app) end)
    -- The name may be taken by this very call, made before: then it is there, and ours.
    if not ok and not (e.status == 422 and M.find(opts.app)) then
        err.raise(e)
    end
    return { name = wait_for(opts.app, true).name }
end

---@class dgrun.fly.apps.create
---@field app string
---@field org? string slug of the organisation, "personal"
---@field network? string a private network of its own

---Creates an app; one that is there is left alone. In a plan the app is there from then on.
---Errors: fly.name_taken, fly.no_organization, fly.forbidden.
---@param opts dgrun.fly.apps.create
---@return boolean created
function M.create(opts)
    check.options(opts, { app = "string", org = "string?", network = "string?" },
        "fly.apps.create")
    if M.find(opts.app) then
        effect.note(("app %s exists"):format(opts.app))
        return false
    end
    effect.write {
        kind = "fly.app.create", target = opts.app, name = "app",
        summary = ("create app %s"):format(opts.app),
        after = { org = opts.org or "personal", network = opts.network },
        apply = function() return create(opts) end,
    }
    pretend.app(opts.app, opts.org or "personal")
    return true
end

---Destroys an app with its machines, volumes, addresses and secrets; one that is gone is fine.
---@param opts {app: string}
---@return boolean destroyed
function M.destroy(opts)
    check.options(opts, { app = "string" }, "fly.apps.destroy")
    local app = M.find(opts.app)
    if not app then
        effect.note(("app %s is gone"):format(opts.app))
        return false
    end
    effect.write {
        kind = "fly.app.destroy", target = opts.app,
        before = { status = app.status, machines = app.machine_count },
        summary = ("destroy app %s"):format(opts.app),
        apply = function()
            api.machines("DELETE", path(opts.app),
                { query = { force = "true" }, ok = { [404] = true } })
            wait_for(opts.app, false)
        end,
    }
    return true
end

---@return "v4"|"shared_v4"|"v6"|"private_v6"
local function kind_of(assignment)
    local ip = assignment.ip
    if ip:find(":", 1, true) then
        return ip:match("^fd") and "private_v6" or "v6"
    end
    return assignment.shared and "shared_v4" or "v4"
end

---@param app string
---@return dgrun.fly.apps.address[]
function M.addresses(app)
    local list = {}
    for i, one in ipairs(api.machines("GET", path(app, "/ip_assignments")).ips) do
        list[i] = { ip = one.ip, kind = kind_of(one) }
    end
    for _, kind in ipairs(pretend.addresses(app)) do
        list[#list + 1] = { ip = "(known after apply)", kind = kind }
    end
    return list
end

local function address_of(app, kind)
    for _, one in ipairs(M.addresses(app)) do
        if one.kind == kind then
            return one.ip
        end
    end
end

---Gives an app an address of each kind that it has none of.
---@param opts {app: string, kinds?: string[]} kinds: { "shared_v4", "v6" } when absent
function M.ensure_addresses(opts)
    check.options(opts, { app = "string", kinds = "table?" }, "fly.apps.ensure_addresses")
    for _, kind in ipairs(opts.kinds or { "shared_v4", "v6" }) do
        check.known(kind, kinds, "fly.apps.ensure_addresses: unknown kind", "input.invalid")
        if not address_of(opts.app, kind) then
            effect.write {
                kind = "fly.ip.create", target = opts.app, after = { type = kind },
                summary = ("allocate a %s address for %s"):format(kind, opts.app),
                apply = function()
                    return retry.settled(function()
                        return api.machines("POST", path(opts.app, "/ip_assignments"),
                            { json = { type = kind }, once = true }).ip
                    end, function() return address_of(opts.app, kind) end)
                end,
            }
            pretend.address(opts.app, kind)
        end
    end
end

---The addresses of an app's first deploy: none where it has any, since somebody chose those. Some
---that a run allocated before it was killed are completed.
---@param opts {app: string, kinds: string[]}
function M.first_addresses(opts)
    local key = "addresses.begun:" .. opts.app
    local journaled = run.current() ~= nil
    if #M.addresses(opts.app) > 0 and not (journaled and store.kv_get(key)) then
        return
    elseif journaled then
        store.kv_put(key, true)
    end
    M.ensure_addresses(opts)
    if journaled then
        store.kv_put(key, false)
    end
end

return M
