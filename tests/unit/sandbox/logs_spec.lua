local logs = require "sandbox.logs"
local sandbox = require "support.sandbox"
local task = require "dgrun.core.task"

local image = "registry.fly.io/web:a"

---One machine of the local Fly that writes what its image says.
local function with_machine(behaviour, body, opts)
    sandbox.run(function(fly)
        fly.register(image, behaviour)
        local machine = fly.web(image)
        fly.wait(machine.id, "started")

        ---@return table[] data
        ---@return string next_token
        function fly.page(token, more)
            local status, page = fly.call("GET", "/api/v1/apps/web/logs?next_token="
                .. (token or "") .. (more or ""))
            assert.equal(200, status)
            return page.data, page.meta.next_token
        end
        body(fly, machine)
    end, opts)
end

---Pages that a test fills.
local function with_short_pages()
    local page = logs.PAGE
    logs.PAGE = 100
    task.defer(function() logs.PAGE = page end)
end

---Limits that a test reaches.
local function with_small_segments(body)
    local segment, kept = logs.SEGMENT_BYTES, logs.KEPT_BYTES
    logs.SEGMENT_BYTES, logs.KEPT_BYTES = 3000, 12000
    task.defer(function() logs.SEGMENT_BYTES, logs.KEPT_BYTES = segment, kept end)
    body()
end

local function numbered(from, to)
    local lines = {}
    for i = from, to do
        lines[#lines + 1] = ("line %d"):format(i)
    end
    return lines
end

---Everything behind a token, and the ids.
local function read_all(fly, token)
    local messages, ids = {}, {}
    repeat
        local data
        data, token = fly.page(token)
        for _, line in ipairs(data) do
            messages[#messages + 1] = line.attributes.message
            ids[#ids + 1] = line.id
        end
    until #data == 0
    return messages, ids, token
end

describe("the log of the local Fly", function()
    it("is read in pages, as the references show a line", function()
        with_short_pages()
        with_machine({ log = numbered(1, 250) }, function(fly, machine)
            local data, token = fly.page()
            assert.equal(100, #data)
            local attributes = data[1].attributes
            assert.same({ "line 1", "info", machine.id, "ewr" }, { attributes.message,
                attributes.level, attributes.instance, attributes.region })
            assert.equal("app", attributes.meta.event.provider)
            assert.equal(machine.id, attributes.meta.instance)
            assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+%.%d+Z$", attributes.timestamp)
            assert.same(numbered(101, 250), (read_all(fly, token)))
            assert.same(numbered(1, 250), (read_all(fly)))
        end)
    end)

    it("is filtered by instance and region", function()
        with_machine({ log = numbered(1, 3) }, function(fly, machine)
            local other = fly.web(image)
            fly.wait(other.id, "started")
            assert.equal(6, #fly.page())
            assert.equal(3, #fly.page("", "&instance=" .. machine.id))
            assert.equal(6, #fly.page("", "&region=ewr"))
            local data, token = fly.page("", "&region=ams")
            assert.equal(0, #data)
            assert.equal("6", token)
        end)
    end)

    it("refuses a token that nobody gave out", function()
        with_machine({}, function(fly)
            assert.equal(400, (fly.call("GET", "/api/v1/apps/web/logs?next_token=x")))
            assert.equal(0, #fly.page "99")
        end)
    end)

    it("keeps the newest lines only, and goes on with them", function()
        with_small_segments(function()
            with_machine({ log = numbered(1, 10) }, function(fly)
                local _, token = fly.page()
                assert.equal("10", token)
                fly.register("registry.fly.io/web:b", { log = numbered(11, 200) })
                fly.wait(fly.web("registry.fly.io/web:b").id, "started")
                local messages, ids = read_all(fly, token)
                assert.equal("line 200", messages[#messages])
                assert.is_true(#messages > 20 and #messages < 60, #messages)
                assert.same(numbered(201 - #messages, 200), messages)
                local seen = {}
                for _, id in ipairs(ids) do
                    assert.is_nil(seen[id])
                    seen[id] = true
                end
            end)
        end)
    end)

    it("is there after a restart, its numbers going on", function()
        with_small_segments(function()
            with_machine({ log = numbered(1, 100) }, function(fly)
                local messages, ids, token = read_all(fly)
                fly.reopen()
                local again, same_ids = read_all(fly, tostring(tonumber(token) - #messages))
                assert.is_true(#again >= 15)
                for i = 1, #again do
                    assert.equal(messages[#messages - i + 1], again[#again - i + 1])
                    assert.equal(ids[#ids - i + 1], same_ids[#same_ids - i + 1])
                end
                fly.wait(fly.web(image).id, "started")
                messages, ids = read_all(fly)
                assert.equal("line 100", messages[#messages])
                assert.matches("%-200$", ids[#ids])
            end)
        end)
    end)

    it("survives a last line that a kill cut off", function()
        with_machine({ log = numbered(1, 3) }, function(fly)
            fly.sandbox.close()
            local fs = require "host.fs"
            local file = fly.dir / "logs-web.jsonl"
            local text = fs.read(file)
            assert(fs.write(file, text:sub(1, #text - 20)))
            fly.reopen()
            fly.wait(fly.web(image).id, "started")
            fly.reopen()
            assert.same({ "line 1", "line 2", "line 1", "line 2", "line 3" }, (read_all(fly)))
        end)
    end)

    it("is written as fast as a machine is told to, in order", function()
        with_machine({ chatter = { per_second = 20000, lines = 1500, text = "n %d" } },
            function(fly)
                local messages = {}
                fly.until_true(function()
                    messages = read_all(fly)
                    return #messages == 1500
                end)
                for i = 1, 1500 do
                    assert.equal(("n %d"):format(i), messages[i])
                end
            end)
    end)

    it("refuses chatter that is none", function()
        sandbox.run(function(fly)
            for _, chatter in ipairs { { lines = 3 }, { per_second = 0 },
                { per_second = 1, text = "%d %d" }, { per_second = 1, lines = 1.5 } } do
                assert.equal(422, (fly.call("POST", "/sandbox/v1/images",
                    { ref = image, behaviour = { chatter = chatter } })))
            end
        end)
    end)
end)
