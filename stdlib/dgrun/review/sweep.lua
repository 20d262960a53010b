-- Destroys the review apps that are no longer needed.
local apps = require "dgrun.review.apps"
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local lease = require "dgrun.run.lock"
local lists = require "dgrun.review.list"
local run = require "dgrun.run.context"
local store_of = require "dgrun.run.store"
local tickets = require "dgrun.run.tickets"

local M = {}

---Whether a run holds or waits for the group of this app.
local function is_busy(app)
    local current = run.current()
    if not current then
        return false
    end
    local name = lease.group(app, current.sandbox)
    for _, row in ipairs(tickets.list(store_of.current(), name)) do
        if row.left > 0 then
            return true
        end
    end
    return false
end

local function report(list, strays)
    local kept = {}
    for _, one in ipairs(list) do
        if one.state == "foreign" or one.state == "empty" then
            kept[#kept + 1] = one.app
        end
    end
    if #kept > 0 then
        effect.note(("unchanged because they have no dgrun mark: %s"):format(
            format.list(kept)))
    end
    if #strays == 0 then
        effect.note(("no orphans among %s"):format(format.count(#list, "review app")))
    end
end

---@param opts dgrun.review.strays
---@return string[]
function M.sweep(opts)
    check.options(opts, { template = "string?", older = "seconds?", open = "any?",
        database = "function?" }, "review.sweep")
    local list = lists.list { template = opts.template }
    local strays = lists.pick(list, opts)
    report(list, strays)
    local destroyed, failures = {}, {}
    for _, one in ipairs(strays) do
        local ok, e = true, nil
        if is_busy(one.app) then
            effect.note(one.app .. " is kept: a run is working on it")
        else
            ok, e = pcall(apps.destroy, {
                environment = environment.of_template(opts.template or "review", one.pr,
                    { lazy = true }),
                database = opts.database,
            })
            destroyed[#destroyed + 1] = ok and one.app or nil
        end
        if not ok and err.is(e, "cancelled") then
            error(e, 0)
        elseif not ok then
            failures[#failures + 1] = ("%s: %s"):format(one.app, err.object(e).msg)
        end
    end
    if #failures > 0 then
        err.raise { code = "review.not_swept", op = "review.sweep",
            msg = ("%s could not be destroyed\n  %s"):format(
                format.count(#failures, "review app"), table.concat(failures, "\n  ")),
            hint = "The other apps were destroyed. Run it again after fixing the cause." }
    end
    return destroyed
end

return M
