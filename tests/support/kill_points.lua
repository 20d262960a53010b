-- Points of a pipeline at which something is done to it: each call of Fly ("request", before it is
-- carried out, "carried_out", behind that and before the answer, "answer"), before and after each
-- write of the journal, each child ("spawn").
local matrix = require "support.matrix"
local pipelines = require "support.pipelines"
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

---Has a run migrated its database? Only its own words tell.
---@param run table as of field:run
function M.has_migrated(run)
    return run.text:find "Migrate\n.-\n  done" ~= nil
end

---How many points of each kind a pipeline has. A run that has to wait longer has some more.
---@param field support.matrix_env
---@param argv string[]
---@return table<string, integer>
function M.count(field, argv)
    field.trap = { at = math.huge, seen = 0 }
    local run = field:run(argv, { count = true })
    assert(run.status == 0, run.text)
    local counts = { request = field.trap.seen, carried_out = field.trap.seen }
    field.trap = nil
    for where, count in run.text:gmatch "POINTS (%a+) (%d+)" do
        counts[where] = tonumber(count)
    end
    return counts
end

---@class support.kill_points.all
---@field at_once integer how many runs side by side
---@field last number how many points there are at least; math.huge: that shows
---@field every integer 1 takes each, and those behind the last until there is none any more
---@field one fun(at: integer): boolean, boolean? does something at one point; false: there is no
---  such point; true: no more of them is wanted

---Points of one kind.
---@param opts support.kill_points.all
---@return integer # how many there were
function M.all(opts)
    local at, count, over = 0, 0, false
    local workers = {}
    for i = 1, opts.at_once do
        workers[i] = function()
            -- Only one looks for more behind the last.
            while not over and (at + opts.every <= opts.last or opts.every == 1 and i == 1) do
                at = at + opts.every
                local found, enough = opts.one(at)
                count = count + (found and 1 or 0)
                over = over or not found or enough or false
            end
        end
    end
    task.all(workers)
    return count
end

---@class support.kill_points.walk
---@field at_once integer
---@field one fun(pipeline: table, template: string, expected: string, place: string, at: integer):
---  boolean, boolean does something at one point; false: there is none; is the database migrated?

---From a template whose database has to be migrated yet: the points until that is done, and one or
---two behind it.
local function walk_migration(opts, pipeline, template, expected, counts)
    local sum = 0
    for _, place in ipairs(matrix.pick({ "spawn" }, M.places)) do
        local count = M.all { at_once = opts.at_once, last = counts[place], every = 1,
            one = function(at) return opts.one(pipeline, template, expected, place, at) end }
        assert(count > 0, "no point of kind " .. place)
        sum = sum + count
    end
    return sum
end

---From one whose database is there already, or that has none: all points. A fixed number of each
---kind for the quick tests.
local function walk_rest(opts, pipeline, template, expected, counts)
    local sum, parts = 0, {}
    for i, place in ipairs(M.places) do
        local some = math.max(1, math.floor(counts[place] / 3))
        local count = M.all { at_once = opts.at_once, last = counts[place],
            every = matrix.pick(some, 1),
            one = function(at)
                return (opts.one(pipeline, template, expected, place, at))
            end }
        -- Only the migration starts a child that counts.
        assert(count > 0 or place == "spawn", "no point of kind " .. place)
        sum, parts[i] = sum + count, ("%s %d"):format(place, count)
    end
    return sum, table.concat(parts, ", ")
end

---Something is done to a pipeline at all of its points. Most of what a run costs is the start of
---Alembic: where a point lies behind the migration, the database is migrated before.
---@param opts support.kill_points.walk
---@param pipeline table of support.pipelines
---@return integer # how many points there were
---@return string # of which kinds
function M.walk(opts, pipeline)
    local templates = pipelines.templates()
    local rest = templates[pipeline.migrated or pipeline.from]
    local expected, counts = pipelines.undisturbed(pipeline, rest, function(field)
        return M.count(field, pipeline.argv)
    end)
    local sum, parts = walk_rest(opts, pipeline, rest, expected, counts)
    -- Of the quick tests one pipeline is migrated.
    if pipeline.migrated and (not matrix.is_quick() or pipeline.name == "stage_deploy") then
        local template = templates[pipeline.from]
        local same = pipelines.undisturbed(pipeline, template, function(field)
            counts = M.count(field, pipeline.argv)
        end)
        assert(same == expected, ("migrated in the run, the state is\n%s\nand not\n%s"):format(same,
            expected))
        local more = walk_migration(opts, pipeline, template, expected, counts)
        sum, parts = sum + more, ("%s, until it is migrated %d"):format(parts, more)
    end
    return sum, parts
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
