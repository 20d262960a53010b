-- Every pipeline in bad weather: a share of all calls of Fly fails in one way, by chance with fixed
-- seeds. A run ends done and right, or failed with an error that names the cause, and then it can
-- be resumed when the weather is better. It never ends wrong, and never hangs.
-- DGRUN_SEED=n takes other seeds.
local matrix = require "support.matrix"
local pipelines = require "support.pipelines"
local task = require "dgrun.core.task"

local AT_ONCE = 6
local LONGEST = 240
local SEED = tonumber(os.getenv "DGRUN_SEED" or "0")

-- What happens, and by which words an error names it.
local kinds = {
    { "429", { status = 429, when = "before", retry_after = 0 }, { "429", "too many" } },
    { "500", { status = 500, when = "before" }, { "500" } },
    { "502", { status = 502, when = "after" }, { "502" } },
    { "503", { status = 503, when = "before" }, { "503" } },
    { "408", { status = 408, when = "after" }, { "408", "did not become", "did not get" } },
    { "reset before the write", { reset = true, when = "before" }, { "closed", "reset" } },
    { "reset behind the write", { reset = true, when = "after" }, { "closed", "reset" } },
    { "stall of 30 s", { stall = 30 }, { "lease", "timeout", "did not become" } },
    { "truncated body", { cut = true, when = "after" },
        { "cut", "JSON", "closed", "transfer", "digest" } },
    { "invalid JSON", { invalid = true, when = "after" }, { "JSON", "digest" } },
}

local rates = matrix.pick({ 0.2 }, { 0.05, 0.2, 0.4 })

local function start_weather(field, kind, rate, seed)
    local fault = { rate = rate, seed = seed }
    for name, value in pairs(kind[2]) do
        fault[name] = value
    end
    if fault.stall then
        field.weather = fault
    else
        assert(field:call("POST", "/sandbox/v1/faults", fault) == 200)
    end
end

local function end_weather(field)
    field.weather = nil
    assert(field:call("DELETE", "/sandbox/v1/faults") == 200)
end

local function names_cause(text, words)
    for _, word in ipairs(words) do
        if text:find(word, 1, true) then
            return true
        end
    end
end

---@return "done"|"failed"
local function one(pipeline, template, expected, kind, rate, seed)
    local name = ("%s with %g %% of %s, seed %d"):format(pipeline.name, rate * 100, kind[1], seed)
    return task.scope(function()
        local field = pipelines.field(template)
        start_weather(field, kind, rate, seed)
        local ok, run = pcall(task.timeout, LONGEST, function() return field:run(pipeline.argv) end)
        assert(ok, name .. " hangs")
        end_weather(field)
        local outcome = "done"
        if run.status ~= 0 then
            outcome = "failed"
            local told = run.text:match("The run failed.*") or ""
            assert(run.status == 1, ("%s: status %s\n%s"):format(name, tostring(run.status),
                run.text))
            assert(names_cause(told, kind[3]), ("%s does not name the cause:\n%s"):format(name,
                run.text))
            field:pass_time(15)
            run = field:run { "resume" }
            assert(run.status == 0, ("%s, resumed: status %s\n%s\n--- before\n%s"):format(name,
                tostring(run.status), run.text, field.output[1]))
        end
        local state = pipelines.whole(field, pipeline)
        assert(state == expected, ("%s: the state is\n%s\nand not\n%s\n%s"):format(name, state,
            expected, table.concat(field.output, "\n--- resumed\n")))
        return outcome
    end)
end

describe("a pipeline in bad weather ends right, or says what is wrong and can be resumed:",
    function()
        teardown(pipelines.forget_templates)

        for p, pipeline in ipairs(pipelines.list) do
            local declare = pipeline.alike and matrix.full_it or it
            declare(pipeline.name, function()
                local templates = pipelines.templates()
                -- Weather is nothing to Alembic: only under the first kind the run migrates.
                local rest = templates[pipeline.migrated or pipeline.from]
                local expected = pipelines.undisturbed(pipeline, rest)
                local cases = {}
                for k, kind in ipairs(kinds) do
                    -- In the quick tests each kind meets one of the three pipelines.
                    local is_wanted = not matrix.is_quick() or (k + p) % 3 == 0
                    for r, rate in ipairs(is_wanted and rates or {}) do
                        cases[#cases + 1] = { kind, rate, SEED * 5000 + p * 1000 + k * 10 + r }
                    end
                end
                local count = { done = 0, failed = 0 }
                task.map(cases, { limit = AT_ONCE }, function(case)
                    local template = case[1] == kinds[1] and templates[pipeline.from] or rest
                    local outcome = one(pipeline, template, expected, unpack(case))
                    count[outcome] = count[outcome] + 1
                end)
                print(("    %s: %d cases, %d done, %d failed and resumed"):format(pipeline.name,
                    #cases, count.done, count.failed))
            end)
        end
    end)

