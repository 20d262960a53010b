-- Every pipeline, killed once at each point where it can be: at each call of Fly (before it is
-- carried out, behind that and before the answer, behind the answer), before and after each write
-- of the journal, in each child. Then it is resumed, and all must be as if nothing had happened.
local matrix = require "support.matrix"
local pipelines = require "support.pipelines"
local points = require "support.kill_points"
local task = require "dgrun.core.task"

local AT_ONCE = 3
local SIGKILL = 9
---Seconds for which a machine's lease counts, by the local Fly's clock, and a little.
local LEASE = 15

local function complaint(what, field, run)
    return ("%s\n--- killed:\n%s\n--- resumed, status %s:\n%s"):format(what, field.output[1],
        tostring(run.status), run.text)
end

---One case. Returns false when there is no such point.
local function killed(pipeline, template, expected, place, at)
    return task.scope(function()
        local field = pipelines.field(template)
        local first, reached = points.run(field, pipeline.argv,
            { where = place, at = at, signal = SIGKILL })
        if not reached then
            assert(first.status == 0, first.text)
            return false
        end
        assert(first.signal == SIGKILL, first.text)
        field:pass_time(LEASE)
        local name = ("%s killed at %s %d"):format(pipeline.name, place, at)
        local run = points.resume(field, pipeline.argv)
        assert(run.status == 0, complaint(name, field, run))
        local state = pipelines.whole(field, pipeline)
        assert(state == expected, complaint(("%s: the state is\n%s\nand not\n%s"):format(name,
            state, expected), field, run))
        return true, points.has_migrated(first)
    end)
end

describe("a run that is killed and resumed ends as if nothing had happened:", function()
    teardown(pipelines.forget_templates)

    for _, pipeline in ipairs(pipelines.list) do
        local declare = pipeline.alike and matrix.full_it or it
        declare(pipeline.name, function()
            print(("    %s: killed at %d points and resumed (%s)"):format(pipeline.name,
                points.walk({ at_once = AT_ONCE, one = killed }, pipeline)))
        end)
    end
end)
