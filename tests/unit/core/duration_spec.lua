local duration = require "dgrun.core.duration"

describe("core.duration", function()
    it("reads and prints durations as Go does", function()
        for text, seconds in pairs { ["10s"] = 10, ["1m30s"] = 90, ["500ms"] = 0.5,
            ["1h0m5s"] = 3605, ["0"] = 0, ["1.5s"] = 1.5 } do
            assert.equal(seconds, duration.seconds(text))
        end
        for _, text in ipairs { "10", "s", "", "1x", "1m30" } do
            assert.is_nil(duration.seconds(text))
        end
        for seconds, text in pairs { [10] = "10s", [60] = "1m0s", [300] = "5m0s", [0.5] = "500ms",
            [3600] = "1h0m0s", [3e-6] = "3µs", [0] = "0s" } do
            assert.equal(text, duration.of_seconds(seconds))
        end
    end)
end)
