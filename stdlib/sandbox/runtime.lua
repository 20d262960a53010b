-- What runs inside a machine. An image that was registered behaves as it was
-- told (simulated.lua); one that was built from a folder runs for real (process.lua).
local behaviour_of = require "sandbox.behaviour"
local process = require "sandbox.process"
local simulated = require "sandbox.simulated"

local M = {}

---@class sandbox.process
---@field wait fun(): {exit_code: integer, signal?: integer, oom?: boolean}
---@field stop fun(signal: string, seconds: number): table? its exit; waits that long at most
---@field signal fun(name: string, number: integer)
---@field close? fun() ends what really runs; it is gone when this returns
---@field address? fun(): string? of a real web process: HOST:PORT, nil while Fly would not reach it
---@field problem? fun(): string why a real web process is not reached
---@field ports? fun(): sandbox.machine_ports of a real process

---Does it come up at all?
function M.boots(world, machine)
    return behaviour_of.of(world, machine).boot ~= "fail"
end

---@return sandbox.process
function M.start(world, app, machine)
    local image = behaviour_of.image(world, machine)
    if image and image.dir then
        return process.start(world, app, machine, image)
    end
    return simulated.start(world, app, machine)
end

return M
