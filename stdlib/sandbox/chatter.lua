-- Lines that a simulated machine writes while it runs, as fast as it is told.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local logs = require "sandbox.logs"
local world_of = require "sandbox.world"

local M = {}

---Seconds between two bursts.
local EVERY = 0.02
---Lines of a burst at most, that others get their turn.
local BURST = 2000

---@param given table {per_second, lines?: how many in all, text?: "line %d"}
function M.check(given)
    local count, rate = given.lines, given.per_second
    if type(rate) ~= "number" or rate <= 0 or rate > 1e6 then
        answer.fail(422, "behaviour: chatter needs per_second, a number above 0")
    elseif count ~= nil and (type(count) ~= "number" or count < 0 or count % 1 ~= 0) then
        answer.fail(422, "behaviour: lines of chatter must be a whole number")
    elseif given.text ~= nil and (type(given.text) ~= "string"
            or not pcall(string.format, given.text, 1)) then
        answer.fail(422, "behaviour: text of chatter must be a format for one number")
    end
end

---@return fun() stop
function M.start(world, app, machine, chatter)
    local task = world_of.spawn(world, "chatter of " .. machine.id, function()
        local began, written = clock.steady(), 0
        local wanted, text = chatter.lines or math.huge, chatter.text or "line %d"
        while written < wanted and clock.sleep(EVERY) do
            local due = math.floor((clock.steady() - began) * chatter.per_second)
            local messages = {}
            for i = written + 1, math.min(due, wanted, written + BURST) do
                messages[#messages + 1] = text:format(i)
            end
            written = written + #messages
            if #messages > 0 then
                logs.add_all(world, app, machine, messages)
            end
        end
    end)
    return function() task:cancel() end
end

return M
