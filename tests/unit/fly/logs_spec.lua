local fly_run = require "support.fly_run"
local logs = require "dgrun.fly.logs"
local task = require "dgrun.core.task"

local image = "registry.fly.io/web:a"

local function numbered(count)
    local lines = {}
    for i = 1, count do
        lines[i] = ("line %d"):format(i)
    end
    return lines
end

---Two web machines that wrote `count` lines each, in a log of short pages.
local function with_lines(count, body)
    local store = require "sandbox.logs"
    local page = store.PAGE
    store.PAGE = 100
    task.defer(function() store.PAGE = page end)
    fly_run.with(function(fly)
        fly.register(image, { log = numbered(count) })
        local first, second = fly.web(image), fly.web(image)
        fly.wait(first.id, "started")
        fly.wait(second.id, "started")
        body(fly, first.id, second.id)
    end)
end

local function messages(entries)
    local result = {}
    for i, entry in ipairs(entries) do
        result[i] = entry.message
    end
    return result
end

describe("logs", function()
    it("gives the last lines, of an app, a machine or a region", function()
        with_lines(250, function(_, first)
            local last = logs.last { app = "web", instance = first, count = 3 }
            assert.same({ "line 248", "line 249", "line 250" }, messages(last))
            assert.equal(first, last[1].instance)
            assert.equal("app", last[1].provider)
            assert.equal(500, #logs.last { app = "web", count = 1000 })
            assert.equal(500, #logs.last { app = "web", region = "ewr", count = 1000 })
            assert.same({}, logs.last { app = "web", region = "ams" })
            assert.same({}, logs.last { app = "web", count = 0 })
        end)
    end)

    it("are followed without losing or repeating a line when answers are lost", function()
        with_lines(450, function(fly, first)
            for i = 1, 6 do
                fly.call("POST", "/sandbox/v1/faults", { method = "GET", path = "/logs$",
                    after = i, when = i % 2 == 0 and "after" or "before",
                    reset = i % 3 == 0 or nil, status = i % 3 ~= 0 and 500 or nil })
            end
            local seen = {}
            task.timeout(20, function()
                logs.follow { app = "web", instance = first, on_entry = function(entry)
                    seen[#seen + 1] = entry.message
                    return #seen == 450
                end }
            end)
            assert.same(numbered(450), seen)
        end)
    end)

    it("drop control characters of the app", function()
        fly_run.with(function(fly)
            fly.register(image, { log = { "a\27[31mred\7" } })
            local machine = fly.web(image)
            fly.wait(machine.id, "started")
            local message = logs.last { app = "web", instance = machine.id }[1].message
            assert.is_nil(message:find("\27", 1, true))
        end)
    end)

    it("name an app that is not there, at once", function()
        fly_run.with(function()
            local ok, e = pcall(logs.follow, { app = "nosuch", on_entry = function() end })
            assert.is_false(ok)
            assert.equal("fly.no_app", e.code)
            assert.matches("nosuch", e.msg)
        end)
    end)
end)
