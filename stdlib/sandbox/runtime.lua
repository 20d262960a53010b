-- What runs inside a machine, and the checks of it. An image that was registered behaves as it was
-- told (simulated.lua); one that was built from a folder runs for real (process.lua).
local behaviour_of = require "sandbox.behaviour"
local clock = require "sandbox.clock"
local world_of = require "sandbox.world"

local M = {}

---@class sandbox.process
---@field wait fun(): {exit_code: integer, signal?: integer, oom?: boolean}
---@field stop fun(signal: string, seconds: number): table? its exit; waits that long at most
---@field signal fun(name: string, number: integer)
---@field close? fun() ends what really runs; it is gone when this returns
---@field port? integer where a real web process listens

---Does it come up at all?
function M.boots(world, machine)
    return behaviour_of.of(world, machine).boot ~= "fail"
end

---Every configured check with its name: docs/fly/machines-api.md, section 5.
local function check_list(config)
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
M.check_list = check_list

---@param judge fun(check: table): boolean, string
function M.set_checks(world, machine, judge)
    local shown, changed = {}, false
    local old = {}
    for _, one in ipairs(machine.check_status or {}) do
        old[one.name] = one.status .. one.output
    end
    for i, one in ipairs(check_list(machine.config)) do
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

---@return sandbox.process
function M.start(world, app, machine)
    local image = behaviour_of.image(world, machine)
    if image and image.dir then
        return require("sandbox.process").start(world, app, machine, image)
    end
    return require("sandbox.simulated").start(world, app, machine)
end

return M
