-- What sync, verify and the list look at: the app's machines beside what is declared of them.
local build = require "dgrun.fly.build"
local declaration = require "dgrun.cron.spec"
local drift = require "dgrun.cron.drift"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local machines = require "dgrun.fly.machines"
local roster_of = require "dgrun.cron.roster"
local secrets_state = require "dgrun.fly.secrets"

local M = {}

---@class dgrun.cron.desk
---@field app string
---@field dir string
---@field image? string by digest, where it is known; nil: whatever a machine has is right
---@field secrets dgrun.fly.secrets_state
---@field all table[] machines
---@field roster dgrun.cron.roster

---By digest, so that a tag that moved meanwhile is seen. An image that a plan only builds has none.
---@param image string?
---@return string?
function M.resolved(image)
    if image == nil or effect.is_unknown(image) then
        return image
    end
    local ok, reference = pcall(build.resolve, tostring(image))
    if ok then
        return reference
    elseif effect.planning() and err.is(reference, "fly.no_image") then
        return image
    end
    err.raise(reference)
end

---@class dgrun.cron.known what somebody has asked Fly for already
---@field machines table[] of the app, as the API shows them
---@field secrets {name: string, digest: string}[]
---@field releases table[]

local function ask(app)
    machines.app(app)
    return machines.list(app)
end

---@param opts dgrun.cron.options|{known?: dgrun.cron.known}
---@param op string
---@return dgrun.cron.desk
function M.open(opts, op)
    declaration.check(opts.crons, op)
    local known = opts.known
    local all = known and known.machines or ask(opts.app)
    return {
        app = opts.app, dir = opts.dir or ".", image = M.resolved(opts.image), all = all,
        secrets = known and secrets_state.of(known.secrets) or secrets_state.read(opts.app),
        roster = roster_of.of(all, opts.crons),
    }
end

---@class dgrun.cron.view
---@field machine? table as the API shows it
---@field wanted table
---@field region? string
---@field differences dgrun.cron.difference[] none without a machine

---One declaration beside its machine.
---@param desk dgrun.cron.desk
---@param cron dgrun.cron.declaration
---@return dgrun.cron.view
function M.view(desk, cron)
    local machine = desk.roster.of[cron.name]
    local base = declaration.load(cron, desk.dir)
    local wanted = declaration.wanted(cron, base, {
        image = desk.image or (machine and image_of.of_machine(machine)), secrets = desk.secrets,
    }, machine)
    return {
        machine = machine, wanted = wanted, region = base.region,
        differences = machine and drift.between(machine, wanted, base.region, desk.secrets) or {},
    }
end

return M
