-- The checks of a machine, and their results.
local clock = require "sandbox.clock"
local world_of = require "sandbox.world"

local M = {}

---Every configured check with its name: docs/fly/machines-api.md, section 5.
function M.list(config)
    local found = {}
    for _, service in ipairs(config.services or {}) do
        for _, check in ipairs(service.checks or {}) do
            found[#found + 1] = {
                name = ("servicecheck-%02d-%s-%d"):format(#found, check.type,
                    check.port or service.internal_port or 0),
                check = check,
            }
        end
    end
    for name, check in pairs(config.checks or {}) do
        found[#found + 1] = { name = name, check = check }
    end
    return found
end

---@param judge fun(check: table): boolean, string
function M.set(world, machine, judge)
    local shown, changed = {}, false
    local old = {}
    for _, one in ipairs(machine.check_status or {}) do
        old[one.name] = one.status .. one.output
    end
    for i, one in ipairs(M.list(machine.config)) do
        local good, output = judge(one.check)
        local status = good and "passing" or "critical"
        changed = changed or old[one.name] ~= status .. output
        shown[i] = { name = one.name, status = status, output = output,
            updated_at = clock.iso(world) }
    end
    if changed then
        machine.check_status = shown
        world_of.changed(world, machine)
    end
end

return M
