-- Removes secrets by name.
local api = require "dgrun.fly.api"
local change = require "dgrun.secrets.change"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local state = require "dgrun.secrets.state"
local write = require "dgrun.secrets.write"

local M = {}

local function refuse_required(opts, names)
    local list = {}
    local declared = opts.secrets
        and environment.declared(opts.secrets) or {}
    for _, name in ipairs(names) do
        local how = declared[name]
        list[#list + 1] = (how == "required" or how == "literal") and name or nil
    end
    if #list > 0 then
        err.raise { code = "secrets.refused", op = "secrets.unset",
            msg = ("%s: the environment of %s requires %s"):format(format.list(list),
                opts.app, #list == 1 and "it" or "them"),
            hint = ("Remove %s from environments.yaml first. To remove the secret anyway: %s")
                :format(#list == 1 and "it" or "them", api.command "secrets unset --force") }
    end
end

---@param opts dgrun.secrets.unset
---@return dgrun.secrets.unset.result
function M.carry_out(opts)
    local there = write.read(opts.app)
    local unset, absent, seen = json.array {}, json.array {}, {}
    for _, name in ipairs(opts.names) do
        if not state.is_name(name) then
            err.raise { code = "input.invalid", op = "secrets.unset",
                msg = "secrets.unset: one of the given names is not a valid secret name",
                hint = "Names are letters, digits and underscores." }
        elseif not seen[name] then
            seen[name] = true
            table.insert(there[name] and unset or absent, name)
        end
    end
    table.sort(unset)
    refuse_required(opts, unset)
    if #absent > 0 then
        effect.note(("not on %s: %s"):format(opts.app, format.list(absent)))
    end
    local version, machines = change.make({ app = opts.app,
        diff = { names = {}, new = {}, changed = {} }, values = {}, there = there, set = {},
        unset = unset }, opts.apply)
    return { app = opts.app, version = version, unset = unset, absent = absent,
        machines = machines }
end

return M
