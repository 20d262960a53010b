local time = require "host.time"
local host_task = require "host.task"

describe("host.time", function()
    it("sleeps at least as long as asked", function()
        local from = time.now()
        assert.is_true(time.sleep(0.02))
        assert.is_true(time.now() - from >= 0.019)
        assert.is_true(time.sleep(0))
    end)

    it("wakes a cancelled sleeper", function()
        local sleeper = host_task.spawn(function() return time.sleep(3600) end)
        time.sleep(0)
        sleeper:cancel()
        local ended, value, e = sleeper:join()
        assert.is_true(ended)
        assert.is_nil(value)
        assert.equal("cancelled", e.code)
    end)

    it("refuses what is no duration", function()
        for _, wrong in ipairs { -1, 0 / 0, 1 / 0, "1" } do
            local ok, e = pcall(time.sleep, wrong)
            assert.is_false(ok)
            assert.equal("input.invalid", e.code)
        end
    end)

    it("writes and reads times", function()
        assert.equal("2026-08-01T10:00:00Z", time.iso(1785578400))
        assert.equal("1969-12-31T23:59:59Z", time.iso(-0.5))
        assert.equal(1785578400, time.parse("2026-08-01T10:00:00Z"))
        assert.equal(1785578400, time.parse("2026-08-01T12:00:00+02:00"))
        assert.equal(1785578400, time.parse("2026-08-01 04:30:00-0530"))
        assert.equal(1785578400.5, time.parse("2026-08-01t10:00:00.5z"))
        local precise = time.parse("2026-08-01T10:00:00.123456789Z")
        assert.is_true(math.abs(precise - 1785578400.123456789) < 1e-6)
        assert.equal(time.parse("2017-01-01T00:00:00Z"), time.parse("2016-12-31T23:59:60Z"))
        assert.equal(951782400, time.parse("2000-02-29T00:00:00Z"))
        local now = math.floor(time.wall())
        assert.equal(now, time.parse(time.iso(now)))
    end)

    it("reads nothing from what is no time", function()
        for _, text in ipairs {
            "", "yesterday", "2026-08-01", "2026-08-01T10:00:00", "2026-13-01T10:00:00Z",
            "2026-02-30T10:00:00Z", "2026-08-01T24:00:00Z", "2026-08-01T10:60:00Z",
            "2026-08-01T10:00:00.Z", "2026-08-01T10:00:00+25:00", "2026-08-01T10:00:00Z ",
            "20x6-08-01T10:00:00Z", "2026-00-01T10:00:00Z",
        } do
            assert.is_nil(time.parse(text), text)
        end
    end)
end)
