-- The cron machines of an app beside what is declared of them: which machine is which, which exist
-- twice, and which nothing declares.
local build = require "dgrun.fly.build"
local drift = require "dgrun.cron.drift"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local machines = require "dgrun.fly.machines"
local secrets_state = require "dgrun.fly.secrets"
local spec = require "dgrun.cron.spec"

local M = {}

---@class dgrun.cron.machines
---@field all table[] machines of the app, as the API shows them
---@field of table<string, table?> machine by the name of the declaration
---@field duplicates {name: string, machine: table}[] other machines for the same declaration
---@field orphans table[] machines with a schedule or dgrun's mark that no declaration names

---@class dgrun.cron.inventory: dgrun.cron.machines
---@field app string
---@field dir string
---@field image? string by digest, where it is known; nil: whatever a machine has is right
---@field secrets dgrun.fly.secrets_state

local function metadata_of(machine)
    return machine.config and machine.config.metadata or {}
end

---Could it be a cron machine? Those of deploys are not, nor are one-off copies.
local function is_candidate(machine)
    return not machines.is_gone(machine) and not machines.is_managed(machine)
        and metadata_of(machine).dgrun_job == nil
end

---The first of several for one declaration is the machine, the others are duplicates: a machine
---that dgrun made under that name comes first, then the oldest.
local function before(name)
    local function fit(machine)
        return (metadata_of(machine).dgrun_cron == name and 2 or 0)
            + (machine.name == name and 1 or 0)
    end
    return function(a, b)
        if fit(a) ~= fit(b) then
            return fit(a) > fit(b)
        elseif (a.created_at or "") ~= (b.created_at or "") then
            return (a.created_at or "") < (b.created_at or "")
        end
        return a.id < b.id
    end
end

---@param all table[] machines of the app
---@param crons dgrun.cron.declaration[]
---@return dgrun.cron.machines
local function assigned(all, crons)
    local found = { all = all, of = {}, duplicates = {}, orphans = {} }
    local candidates, declared = {}, {}
    for _, cron in ipairs(crons) do
        candidates[cron.name], declared[cron.name] = {}, true
    end
    for _, machine in ipairs(all) do
        if is_candidate(machine) then
            local mark = metadata_of(machine).dgrun_cron
            local name = mark or machine.name
            if declared[name] then
                table.insert(candidates[name], machine)
            elseif mark or machines.is_cron(machine) then
                table.insert(found.orphans, machine)
            end
        end
    end
    for _, cron in ipairs(crons) do
        local list = candidates[cron.name]
        table.sort(list, before(cron.name))
        found.of[cron.name] = table.remove(list, 1)
        for _, machine in ipairs(list) do
            table.insert(found.duplicates, { name = cron.name, machine = machine })
        end
    end
    return found
end

---Asks Fly for the machines of an app, to find its cron machines.
---@param app string
---@param crons? dgrun.cron.declaration[]
---@return dgrun.cron.machines
function M.machines(app, crons)
    machines.app(app)
    return assigned(machines.list(app), crons or {})
end

---The images that web machines run, and one machine of each.
local function web_images(app)
    local images, machine_of = {}, {}
    for _, machine in ipairs(machines.list(app)) do
        if machines.is_managed(machine) and machines.group(machine) == "app"
            and metadata_of(machine).fly_bluegreen_deployment_tag ~= "safe_to_destroy" then
            local image = image_of.of_machine(machine)
            if not machine_of[image] then
                images[#images + 1], machine_of[image] = image, machine
            end
        end
    end
    return images, machine_of
end

---The image of the app's web machines, which its cron machines get.
---@param app string
---@return string # by digest
function M.web_image(app)
    machines.app(app)
    local images, machine_of = web_images(app)
    if #images == 1 then
        return images[1]
    elseif #images == 0 then
        err.raise {
            code = "cron.no_web_machine", op = "cron.image", app = app,
            msg = ("%s has no web machine (process group app) to take the image from")
                :format(app),
            hint = "Deploy the app first.",
        }
    end
    local lines = {}
    for i, image in ipairs(images) do
        lines[i] = ("%s runs %s"):format(machine_of[image].id, image)
    end
    err.raise { code = "cron.several_images", op = "cron.image", app = app,
        msg = ("the web machines of %s run different images:\n%s"):format(app,
            table.concat(lines, "\n")),
        hint = "A deploy is in progress or did not finish; deploy again first." }
end

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

---@param opts dgrun.cron.options|{known?: dgrun.cron.known}
---@param op string
---@return dgrun.cron.inventory
function M.open(opts, op)
    spec.check(opts.crons, op)
    local known = opts.known
    local inventory = known and assigned(known.machines, opts.crons)
        or M.machines(opts.app, opts.crons)
    inventory.app, inventory.dir = opts.app, opts.dir or "."
    inventory.image = M.resolved(opts.image)
    inventory.secrets = known and secrets_state.of(known.secrets) or secrets_state.read(opts.app)
    return inventory
end

---@class dgrun.cron.view
---@field machine? table as the API shows it
---@field wanted table
---@field region? string
---@field differences dgrun.cron.difference[] none without a machine

---One declaration beside its machine.
---@param inventory dgrun.cron.inventory
---@param cron dgrun.cron.declaration
---@return dgrun.cron.view
function M.view(inventory, cron)
    local machine = inventory.of[cron.name]
    local base = spec.load(cron, inventory.dir)
    local wanted = spec.wanted(cron, base, {
        image = inventory.image or (machine and image_of.of_machine(machine)),
        secrets = inventory.secrets,
    }, machine)
    return {
        machine = machine, wanted = wanted, region = base.region,
        differences = machine and drift.between(machine, wanted, base.region, inventory.secrets)
            or {},
    }
end

return M
