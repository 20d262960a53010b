local schedule = require "dgrun.core.schedule"
local ticks_of = require "dgrun.cron.job_runs"

describe("a schedule of Fly", function()
    it("is one of four", function()
        for _, name in ipairs { "hourly", "daily", "weekly", "monthly" } do
            assert.is_true(schedule.is(name))
        end
        for _, name in ipairs { "Hourly", "yearly", "", "0 * * * *" } do
            assert.is_false(schedule.is(name))
        end
        assert.is_false(schedule.is(nil))
        assert.equal("hourly, daily, weekly or monthly, not '5m'", schedule.misfit "5m")
    end)

    -- What somebody wrote, which schedule that is nearest to, and what else they are told.
    local cases = {
        { "0 * * * *", "Write hourly: Fly starts the machine every hour" },
        { "17 * * * *", "Write hourly" },
        { "*/5 * * * *", "Write hourly", "more often" },
        { "* * * * *", "Write hourly", "more often" },
        { "0,30 * * * *", "Write hourly", "more often" },
        { "0 3 * * *", "Write daily: Fly starts the machine every day" },
        { "0 */6 * * *", "Write hourly", "less often" },
        { "0 3 * * 1-5", "Write daily", "less often" },
        { "0 3 * * MON", "Write weekly" },
        { "0 3 * * 1", "Write weekly" },
        { "0 3 1 * *", "Write monthly" },
        { "0 0 3 * * *", "Write daily" },
        { "@hourly", "Write hourly" },
        { "@daily", "Write daily" },
        { "@yearly", "Write monthly" },
        { "5m", "Write hourly", "more often" },
        { "every 15m", "Write hourly", "more often" },
        { "1h", "Write hourly" },
        { "6h", "Write daily", "in between" },
        { "24h", "Write daily" },
        { "90d", "Write monthly", "less often" },
        { "Hourly", "Did you mean 'hourly'" },
        { "dayly", "Did you mean 'daily'" },
        { "whenever", "^Fly supports only these four schedules" },
    }
    for _, case in ipairs(cases) do
        it(("helps who writes '%s'"):format(case[1]), function()
            local hint = schedule.explain(case[1])
            assert.matches(case[2], hint)
            for _, word in ipairs { "more often", "less often", "in between" } do
                assert.equal(word == case[3], hint:find(word, 1, true) ~= nil, hint)
            end
        end)
    end

    it("has its next moment counted from the creation of the machine", function()
        local machine = { created_at = "2026-08-01T10:20:00Z", config = { schedule = "hourly" } }
        local time = require "host.time"
        local function next_at(now)
            return time.iso(schedule.next(machine, time.parse(now)))
        end
        assert.equal("2026-08-01T11:20:00Z", next_at "2026-08-01T10:20:00Z")
        assert.equal("2026-08-01T15:20:00Z", next_at "2026-08-01T14:59:00Z")
        machine.config.schedule = nil
        assert.is_nil(schedule.next(machine, 0))
    end)
end)

describe("the events of a machine with a schedule", function()
    local HOUR = 3600
    local created = 1785578400 -- 2026-08-01T10:00:00Z

    local function event(type, hours, exit)
        return { type = type, timestamp = (created + hours * HOUR) * 1000,
            request = exit and { exit_event = exit } }
    end

    local function ticks(events, hours, state)
        local newest_first = {}
        for i = #events, 1, -1 do
            newest_first[#newest_first + 1] = events[i]
        end
        return ticks_of.of({ state = state or "stopped", created_at = "2026-08-01T10:00:00Z",
            config = { schedule = "hourly" }, events = newest_first }, created + hours * HOUR)
    end

    it("tell the last tick, how it ended and when the next is due", function()
        local seen = ticks({ event("launch", 0), event("start", 0), event("exit", 0.1, {}),
            event("start", 1), event("exit", 1.1, { exit_code = 3 }) }, 1.5)
        assert.equal(created + HOUR, seen.last)
        assert.equal(created + 2 * HOUR, seen.next)
        assert.equal(3, seen.exit.exit_code)
        assert.is_true(seen.armed)
        assert.is_false(seen.overdue)
    end)

    it("tell that a tick is overdue, but not while one runs", function()
        local events = { event("launch", 0), event("start", 0), event("exit", 0.1, {}) }
        assert.is_false(ticks(events, 1.2).overdue)
        assert.is_true(ticks(events, 1.3).overdue)
        assert.is_true(ticks(events, 8).overdue)
        assert.is_false(ticks({ event("launch", 0), event("start", 0) }, 8, "started").overdue)
    end)

    it("of a version that was never started tell that its schedule stands still", function()
        local seen = ticks({ event("launch", 0), event("start", 0), event("exit", 0.1, {}),
            event("update", 0.5) }, 8)
        assert.is_false(seen.armed)
        assert.is_false(seen.overdue)
        assert.is_nil(seen.next)
        -- How the older version's tick ended says nothing of this one's.
        assert.is_nil(seen.exit)
        assert.equal(created + HOUR / 2, seen.changed)
    end)

    it("that are not there are no reason to fail", function()
        local seen = ticks({}, 0.5)
        assert.is_nil(seen.last)
        assert.is_false(seen.overdue)
        assert.is_true(ticks({}, 8).overdue)
    end)
end)
