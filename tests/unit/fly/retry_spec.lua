local retry = require "dgrun.fly.retry"

describe("the rate limit of calls", function()
    it("lets a burst through, then one a second", function()
        local path = "/v1/apps/a/machines/m1"
        for _ = 1, 3 do
            assert.equal(0, retry.turn("POST", path, 100))
        end
        assert.equal(1, retry.turn("POST", path, 100))
        assert.equal(0, retry.turn("POST", path, 105))
    end)

    it("counts reading, other machines and other actions for themselves", function()
        for _ = 1, 10 do
            assert.equal(0, retry.turn("GET", "/v1/apps/a/machines/m2", 100))
        end
        assert.is_true(retry.turn("GET", "/v1/apps/a/machines/m2", 100) > 0)
        assert.equal(0, retry.turn("GET", "/v1/apps/a/machines/m3", 100))
        assert.equal(0, retry.turn("GET", "/v1/apps/a/machines/m2/wait?timeout=60", 100))
    end)
end)
