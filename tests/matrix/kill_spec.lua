-- Every pipeline, killed once at each point where it can be: at each call of Fly (before it is
-- carried out, behind that and before the answer, behind the answer), before and after each write
-- of the journal, in each child. Then it is resumed, and all must be as if nothing had happened.
local pipelines = require "support.pipelines"
local task = require "dgrun.task"

local AT_ONCE = 3
---Seconds for which a machine's lease counts, by the local Fly's clock, and a little.
local LEASE = 15

-- Where the local Fly notices the point, and where dgrun does.
local places = { "request", "carried_out", "answer", "journal", "spawn" }
local by_fly = { request = true, carried_out = true }

---Until it is through: children of the run that was killed may have to end first.
local function resumed(field, pipeline)
    local time = require "host.time"
    local deadline = time.now() + 30
    while true do
        local run = field:run { "resume" }
        if run.status == 2 and run.text:find("no interrupted run", 1, true) then
            -- Killed before it began, or behind its end.
            run = field:run(pipeline.argv)
        end
        if run.status ~= 4 or time.now() > deadline then
            return run
        end
        task.sleep(0.05)
    end
end

local function complaint(what, field, run)
    return ("%s\n--- killed:\n%s\n--- resumed, status %s:\n%s"):format(what, field.output[1],
        tostring(run.status), run.text)
end

---One case. Returns false when there is no such point.
local function killed(pipeline, template, expected, place, at)
    return task.scope(function()
        local field = pipelines.field(template)
        local settings = { die = { where = place, at = at } }
        if by_fly[place] then
            field.trap = { where = place, at = at, seen = 0 }
            settings = {}
        end
        local first = field:run(pipeline.argv, settings)
        field.trap = nil
        if first.signal ~= 9 then
            assert(first.status == 0, first.text)
            return false
        end
        field:pass_time(LEASE)
        local name = ("%s killed at %s %d"):format(pipeline.name, place, at)
        local run = resumed(field, pipeline)
        assert(run.status == 0, complaint(name, field, run))
        local state = pipelines.whole(field, pipeline)
        assert(state == expected, complaint(("%s: the state is\n%s\nand not\n%s"):format(name,
            state, expected), field, run))
        return true
    end)
end

local function undisturbed(pipeline, template)
    return task.scope(function()
        local field = pipelines.field(template)
        local run = field:run(pipeline.argv)
        assert(run.status == 0, run.text)
        return pipelines.whole(field, pipeline)
    end)
end

---All points of one kind, several at once; how many there were.
local function all_points(pipeline, template, expected, place)
    local at, count, over = 0, 0, false
    local workers = {}
    for i = 1, AT_ONCE do
        workers[i] = function()
            while not over do
                at = at + 1
                if killed(pipeline, template, expected, place, at) then
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

describe("a run that is killed and resumed ends as if nothing had happened:", function()
    for _, pipeline in ipairs(pipelines.list) do
        it(pipeline.name, function()
            local template = pipelines.templates()[pipeline.from]
            local expected = undisturbed(pipeline, template)
            local sum, parts = 0, {}
            for i, place in ipairs(places) do
                local count = all_points(pipeline, template, expected, place)
                assert(count > 0 or pipeline.name == "cron_setup" and place == "spawn",
                    "no point of kind " .. place)
                sum, parts[i] = sum + count, ("%s %d"):format(place, count)
            end
            print(("    %s: killed at %d points and resumed (%s)"):format(pipeline.name, sum,
                table.concat(parts, ", ")))
        end)
    end
end)
