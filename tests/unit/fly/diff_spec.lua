local changes = require "dgrun.fly.diff"
local clock = require "dgrun.fly.clock"
local json = require "dgrun.core.json"
local time = require "host.time"

describe("what differs between a machine and a configuration", function()
    local function machine(init)
        return { image_ref = { registry = "registry.fly.io", repository = "web", tag = "a" },
            config = { env = {}, init = init } }
    end

    local function differing(has, wanted)
        return changes.differing(machine(has), { image = "registry.fly.io/web:a", env = {},
            init = wanted })
    end

    it("is what it runs, also where the configuration has nothing in its place", function()
        local cmd = { "run" }
        assert.same({}, differing({ cmd = cmd }, { cmd = cmd }))
        assert.same({ "init" }, differing({ cmd = cmd }, { cmd = { "walk" } }))
        for _, name in ipairs { "entrypoint", "exec", "cmd" } do
            assert.same({ "init" }, differing({ cmd = cmd, [name] = { "/old" } },
                name == "cmd" and {} or { cmd = cmd }))
        end
        assert.same({ "init" }, differing({ cmd = cmd, swap_size_mb = 512 }, { cmd = cmd }))
    end)

    it("is not what Fly leaves empty, or keeps by itself", function()
        local cmd = { "run" }
        assert.same({}, differing({ cmd = cmd, entrypoint = json.null, exec = {} }, { cmd = cmd }))
        assert.same({}, differing({ cmd = cmd, tty = true }, { cmd = cmd }))
        assert.same({}, differing(nil, nil))
        assert.same({}, differing(json.null, {}))
    end)
end)

describe("Fly's clock", function()
    it("is read from the dates of its answers", function()
        assert.equal("2026-08-01T10:00:00Z",
            time.iso(clock.parse "Sat, 01 Aug 2026 10:00:00 GMT"))
        for _, text in ipairs { "", "2026-08-01T10:00:00Z", "Sat, 01 Agu 2026 10:00:00 GMT",
            "Sat, 99 Aug 2026 10:00:00 GMT" } do
            assert.is_nil(clock.parse(text))
        end
    end)

    it("may be hours ahead of this computer's, but not seconds", function()
        local function date(ahead)
            return os.date("!%a, %d %b %Y %H:%M:%S GMT", time.wall() + ahead)
        end
        local function is_ahead(from, to)
            local before = time.wall()
            local now = clock.now()
            assert.is_true(before + from <= now and now <= time.wall() + to)
        end
        clock.hear(date(7200))
        is_ahead(7000, 7202)
        clock.hear "nonsense"
        is_ahead(7000, 7202)
        clock.hear(date(2))
        is_ahead(0, 0)
        clock.hear(date(-7200))
        clock.forget()
        is_ahead(0, 0)
    end)
end)
