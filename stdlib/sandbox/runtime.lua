-- What runs inside a machine. An image that was registered behaves as it was told; an image that
-- was built from a folder runs for real, as a process of this system.
local json = require "dgrun.json"
local logs = require "sandbox.logs"
local registry = require "sandbox.registry"
local time = require "host.time"
local world_of = require "sandbox.world"

local M = {}

---@class sandbox.process
---@field wait fun(): {exit_code: integer, signal?: integer, oom?: boolean}
---@field stop fun()
---@field port? integer where a real web process listens

local function image_of(world, machine)
    local ref = machine.image_ref
    return registry.resolve(world, ("%s/%s:%s"):format(ref.registry, ref.repository, ref.tag))
end

local function behaviour_of(world, machine)
    local image = image_of(world, machine)
    return image and image.behaviour or {}
end

function M.boots(world, machine)
    return behaviour_of(world, machine).boot ~= "fail"
end

---Every configured check with its name: machines-api.md section 5.
local function check_list(config)
    local found = {}
    for _, service in ipairs(config.services or {}) do
        for _, check in ipairs(service.checks or {}) do
            found[#found + 1] = {
                name = ("servicecheck-%02d-%s-%d"):format(#found, check.type,
                    check.port or service.internal_port),
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
        old[one.name] = one.status
    end
    for i, one in ipairs(check_list(machine.config)) do
        local good, output = judge(one.check)
        local status = good and "passing" or "critical"
        changed = changed or old[one.name] ~= status
        shown[i] = { name = one.name, status = status, output = output,
            updated_at = world_of.now() }
    end
    if changed then
        machine.check_status = shown
        world_of.changed(world, machine)
    end
end

---A machine that does what its image was registered to do.
local function simulated(world, app, machine, behaviour)
    -- What is checked is there to stay; a command without checks ends.
    local serves = #(machine.config.services or {}) > 0 or #check_list(machine.config) > 0
    local crashes = serves and behaviour.crash
    local seconds = behaviour.seconds or world.pace
    if serves then
        seconds = crashes and world.pace or math.huge
    end
    for _, line in ipairs(behaviour.log or {}) do
        logs.add(world, app, machine, line)
    end
    local task = world_of.spawn(world, "simulated " .. machine.id, function()
        if seconds == math.huge and behaviour.health ~= "never" then
            time.sleep(world.pace)
            local good = behaviour.health ~= "critical"
            M.set_checks(world, machine, function()
                return good, good and "200 OK" or "503 Service Unavailable"
            end)
        end
        while seconds == math.huge do
            local ok = time.sleep(3600)
            if not ok then
                return
            end
        end
        time.sleep(seconds)
    end)
    return {
        body = behaviour.body or ("<h1>%s</h1>\n"):format(app.name),
        healthy = behaviour.health ~= "critical" and behaviour.health ~= "never",
        wait = function()
            task:join()
            local code = crashes and 1 or (not serves and behaviour.exit_code) or 0
            return { exit_code = code, oom = behaviour.oom }
        end,
        stop = function() task:cancel() end,
    }
end

---@return sandbox.process
function M.start(world, app, machine)
    local image = image_of(world, machine)
    if image and image.dir then
        return require("sandbox.process").start(world, app, machine, image)
    end
    return simulated(world, app, machine, image and image.behaviour or json.array {})
end

return M
