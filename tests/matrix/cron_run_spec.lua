-- One run of a cron machine's job by hand, killed once at each point where it can be, and resumed:
-- the job has run once, and its exit code is known.
local matrix = require "support.matrix"
local pipelines = require "support.pipelines"
local points = require "support.kill_points"
local task = require "dgrun.core.task"

local AT_ONCE = 3
local SIGKILL = 9
local ARGV = { "job" }

local pipeline = [[
local dg = require "dgrun"

return dg.pipeline {
    description = "The job of the cron machine, now",
    run = function()
        local ended = dg.step("Job", function()
            return dg.cron.run_now { app = "draft-app-prod", name = "news-ingestion-cron" }
        end)
        dg.note("EXIT CODE " .. ended.exit_code)
    end,
}
]]

---How often the job was started, on whatever machine.
local function runs(field)
    local _, list = field:call("GET", "/v1/apps/draft-app-prod/machines?include_deleted=true")
    local count = 0
    for _, machine in ipairs(list) do
        for _, event in ipairs(machine.config.metadata.dgrun_job and machine.events or {}) do
            count = count + (event.type == "start" and 1 or 0)
        end
    end
    return count
end

local function left_over(field)
    local _, list = field:call("GET", "/v1/apps/draft-app-prod/machines")
    for _, machine in ipairs(list) do
        if machine.config.metadata.dgrun_job and machine.state ~= "destroying" then
            return machine.id .. " is " .. machine.state
        end
    end
end

---Before its first line in the journal there is no run yet; behind its last one it has ended.
local function resume(field, first)
    local run = field:run { "resume" }
    if run.status == 2 and run.text:find("no interrupted run", 1, true) then
        local ended = first.text:find("EXIT CODE", 1, true)
        return ended and { status = 0, text = first.text } or field:run(ARGV)
    end
    return run
end

local function killed(template, place, at)
    return task.scope(function()
        local field = pipelines.field(template)
        assert(require("host.fs").write(field.dir / "scripts/job.lua", pipeline))
        local first, reached = points.run(field, ARGV,
            { where = place, at = at, signal = SIGKILL })
        if not reached then
            assert(first.status == 0, first.text)
            return false
        end
        local run = resume(field, first)
        local name = ("killed at %s %d\n%s\n--- resumed:\n%s"):format(place, at, field.output[1],
            run.text)
        assert(run.status == 0 and run.text:find("EXIT CODE 0", 1, true), name)
        assert(runs(field) == 1, ("the job ran %d times, %s"):format(runs(field), name))
        local left = left_over(field)
        assert(not left, ("%s, %s"):format(left or "", name))
        return true
    end)
end

describe("cron.run_now that is killed and resumed", function()
    teardown(pipelines.forget_templates)

    it("runs the job once", function()
        local template = pipelines.templates().old
        local sum, parts = 0, {}
        for i, place in ipairs { "request", "carried_out", "answer", "journal" } do
            local count = points.all { at_once = AT_ONCE, last = math.huge,
                every = matrix.pick(10, 1),
                one = function(at) return killed(template, place, at) end }
            assert(count > 0 or matrix.is_quick(), "no point of kind " .. place)
            sum, parts[i] = sum + count, ("%s %d"):format(place, count)
        end
        print(("    killed at %d points and resumed (%s)"):format(sum, table.concat(parts, ", ")))
    end)
end)
