-- Points of a pipeline at which something is done to it: each call of Fly ("request", before it is
-- carried out, "carried_out", behind that and before the answer, "answer"), before and after each
-- write of the journal, each child ("spawn").
local task = require "dgrun.core.task"
local until_true = require("support.wait").until_true

local M = {}

M.places = { "request", "carried_out", "answer", "journal", "spawn" }

-- Those that the local Fly notices; dgrun notices the others.
local by_fly = { request = true, carried_out = true }

---Runs a pipeline that gets a signal at one point.
---@param field support.matrix_env
---@param argv string[]
---@param point {where: string, at: integer, signal: integer}
---@return table run as of field:run
---@return boolean reached
function M.run(field, argv, point)
    if not by_fly[point.where] then
        local run = field:run(argv, { die = point })
        return run, run.text:find("AT THE POINT", 1, true) ~= nil or run.signal == point.signal
    end
    field.trap = { where = point.where, at = point.at, signal = point.signal, seen = 0 }
    local run = field:run(argv)
    local reached = field.trap == nil
    field.trap = nil
    return run, reached
end

---All points of one kind, several at once, until there is none any more.
---@param at_once integer
---@param every integer 1 takes each, 3 each third
---@param one fun(at: integer): boolean false: there is no such point
---@return integer # how many there were
function M.all(at_once, every, one)
    local at, count, over = 0, 0, false
    local workers = {}
    for i = 1, at_once do
        workers[i] = function()
            while not over do
                at = at + every
                if one(at) then
                    count = count + 1
                else
                    over = true
                end
            end
        end
    end
    task.all(workers)
    return count
end

---Resumes until it is through: children of the run may have to end first.
---@param field support.matrix_env
---@param argv string[] in case that there is nothing to resume: it was stopped before it began
---@return table run
function M.resume(field, argv)
    return until_true(function()
        local run = field:run { "resume" }
        if run.status == 2 and run.text:find("no interrupted run", 1, true) then
            run = field:run(argv)
        end
        return run.status ~= 4 and run
    end, "a run that need not wait for others")
end

return M
