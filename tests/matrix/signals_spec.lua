-- A pipeline that is interrupted at its points: it stops at a safe one, or says what it waits for,
-- tells by its exit status, and can be resumed.
local matrix = require "support.matrix"
local pipelines = require "support.pipelines"
local points = require "support.kill_points"
local task = require "dgrun.core.task"

local AT_ONCE = 3

local signals = { { name = "SIGINT", number = 2 }, { name = "SIGTERM", number = 15 } }

local function complaint(what, field, run)
    return ("%s\n--- first:\n%s\n--- resumed, status %s:\n%s"):format(what, field.output[1],
        tostring(run.status), run.text)
end

---How it ended is told, unless it was over anyway.
local function check_end(name, run, signal)
    assert(run.signal == nil, name .. " ended by the signal itself")
    if run.status == 0 then
        assert(run.text:find("Done in", 1, true) or run.text:find("Nothing changed", 1, true),
            name .. " is not done:\n" .. run.text)
        return
    end
    assert(run.status == 128 + signal.number, ("%s: status %s\n%s"):format(name,
        tostring(run.status), run.text))
    assert(run.text:find("Cancelled by " .. signal.name, 1, true), name .. ":\n" .. run.text)
    assert(not run.text:find("traceback", 1, true), run.text)
end

local function interrupted(pipeline, template, expected, place, at)
    local signal = signals[at % 2 + 1]
    return task.scope(function()
        local field = pipelines.field(template)
        local first, reached = points.run(field, pipeline.argv,
            { where = place, at = at, signal = signal.number })
        if not reached then
            assert(first.status == 0, first.text)
            return false
        end
        local name = ("%s with %s at %s %d"):format(pipeline.name, signal.name, place, at)
        check_end(name, first, signal)
        -- Leases were given back: nobody waits for them to run out.
        local run = points.resume(field, pipeline.argv)
        assert(run.status == 0, complaint(name, field, run))
        assert(not run.text:find("is held by", 1, true),
            complaint(name .. ": a lease was left", field, run))
        local state = pipelines.whole(field, pipeline)
        assert(state == expected, complaint(("%s: the state is\n%s\nand not\n%s"):format(name,
            state, expected), field, run))
        return true, points.has_migrated(first)
    end)
end

describe("a run that is interrupted stops at a safe point and is resumed:", function()
    teardown(pipelines.forget_templates)

    for _, pipeline in ipairs(pipelines.list) do
        local declare = pipeline.alike and matrix.full_it or it
        declare(pipeline.name, function()
            print(("    %s: interrupted at %d points and resumed (%s)"):format(pipeline.name,
                points.walk({ at_once = AT_ONCE, one = interrupted }, pipeline)))
        end)
    end
end)
