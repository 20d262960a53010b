-- Servers that answer what the references allow but the local Fly does not do.
local json = require "dgrun.core.json"
local log_reader = require "dgrun.fly.log_reader"
local logs = require "dgrun.fly.logs"
local wire = require "support.wire"

local function line(number, more)
    local attributes = { timestamp = "2026-08-01T10:00:00Z", message = "line " .. number,
        level = "info", instance = "a", region = "ewr" }
    for name, value in pairs(more or {}) do
        attributes[name] = value
    end
    return { id = "id-" .. number, attributes = attributes }
end

local function page(data, token)
    return { body = json.encode { data = data, meta = { next_token = token } } }
end

local texts = {}

---A page of the lines of these numbers. Long pages repeat lines: each is encoded once.
local function page_of(from, to, token)
    for i = #texts + 1, to do
        texts[i] = json.encode(line(i))
    end
    return { body = ('{"data":[%s],"meta":{"next_token":%s}}'):format(
        table.concat(texts, ",", from, to), json.encode(token)) }
end

---What a reader gets from a server of these pages until one is empty.
local function read(answer, pages)
    local messages
    wire.with("fo1_a", answer, function()
        local reader = log_reader.new { app = "web" }
        messages = {}
        for _ = 1, pages do
            for _, entry in ipairs(reader:page()) do
                messages[#messages + 1] = entry.message
            end
        end
    end)
    return messages
end

local function expect_all(messages, count)
    assert.equal(count, #messages)
    for i = 1, count do
        assert.equal("line " .. i, messages[i])
    end
end

describe("a reader of logs", function()
    it("takes once what pages of a moved token have in common, however long they are", function()
        expect_all(read(function(_, n)
            -- 3000 lines a page, of which the next one has all but 100 again.
            return page_of((n - 1) * 100 + 1, (n - 1) * 100 + 3000, "t" .. n)
        end, 30), 3000 + 29 * 100)
    end)

    it("takes once what a token that does not move gives again", function()
        expect_all(read(function(_, n)
            return page_of(math.max(1, n * 200 - 4000), n * 200, "")
        end, 25), 5000)
    end)

    it("takes once what many short pages repeat", function()
        expect_all(read(function(_, n)
            -- Fewer than the reader remembers, so that pages come before and after it forgets some.
            return page_of(math.max(1, n * 10 - 900), n * 10, "t" .. n)
        end, 120), 1200)
    end)

    it("remembers no more than it needs", function()
        local function remembered(reader)
            local count = 0
            for _, ids in ipairs { reader.ids, reader.older_ids } do
                for _ in pairs(ids) do
                    count = count + 1
                end
            end
            return count
        end
        wire.with("fo1_a", function(_, n)
            return page_of(n * 500, n * 500 + 499, "t" .. n)
        end, function()
            local reader, most = log_reader.new { app = "web" }, 0
            for _ = 1, 60 do
                reader:page()
                most = math.max(most, remembered(reader))
            end
            assert.is_true(most <= 3000, most)
        end)
    end)

    it("bears what is absent or of another type", function()
        local odd = json.array { line(1), json.null, 5, "x", { id = "none" }, { attributes = {} },
            line(2, { message = json.null, level = 3, meta = "x" }),
            { id = "id-3", attributes = { message = "m", meta = { event = 7 } } } }
        wire.with("fo1_a", function() return page(odd, 5) end, function()
            local entries, more = log_reader.new({ app = "web" }):page()
            local messages = {}
            for i, entry in ipairs(entries) do
                messages[i] = entry.message
            end
            assert.same({ "line 1", "", "", "m" }, messages)
            assert.is_false(more)
        end)
        for _, body in ipairs { "[]", "{}", '{"data":{"a":1},"meta":[]}', '{"data":3}', "7" } do
            wire.with("fo1_a", function() return { body = body } end, function()
                assert.same({}, (log_reader.new({ app = "web" }):page()))
            end)
        end
    end)

    it("ends the last lines of a log that never ends, by the clock of the server", function()
        local function endless(_, n)
            local data = json.array { line(n, { timestamp = ("2026-08-01T10:%02d:%02dZ"):format(
                math.floor(n / 60), n % 60) }) }
            local answer = page(data, "t" .. n)
            answer.headers = { Date = "Sat, 01 Aug 2026 10:00:30 GMT" }
            return answer
        end
        wire.with("fo1_a", endless, function(asked)
            local last = logs.last { app = "web", count = 5 }
            assert.equal("2026-08-01T10:00:32Z", last[5].timestamp)
            assert.equal(32, #asked)
        end)
        wire.with("fo1_a", endless, function()
            assert.equal(13, #logs.last { app = "web", since = 10 })
        end)
    end)
end)

describe("logs of several apps", function()
    it("are merged by time, each in its own order, and cut to the newest", function()
        local minutes = { a = { 1, 5, 3, 9 }, b = { 2, 4, 9, 6 } }
        local function answer(request)
            local app = request.path:match "/apps/(%a)/"
            local data = json.array {}
            if request.query.next_token == "" then
                for i, minute in ipairs(minutes[app]) do
                    data[i] = line(app .. i, {
                        timestamp = ("2026-08-01T10:0%d:00.5Z"):format(minute) })
                end
            end
            local reply = page(data, "end")
            reply.headers = { Date = "Sat, 01 Aug 2026 10:30:00 GMT" }
            return reply
        end
        wire.with("fo1_a", answer, function()
            local function got(opts)
                local list = {}
                opts.apps = { "a", "b" }
                opts.on_page = function(entries)
                    for _, entry in ipairs(entries) do
                        list[#list + 1] = entry.message:match "line (.*)"
                    end
                end
                logs.stream(opts)
                return table.concat(list, " ")
            end
            assert.equal("a1 b1 b2 a2 a3 a4 b3 b4", got {})
            assert.equal("a4 b3 b4", got { count = 3 })
            assert.equal("", got { count = 0 })
            assert.equal("a4 b3 b4", got { since = 24.1 * 60 })
            assert.equal("a2 a3 a4", got { grep = "a", since = 28 * 60 })
            assert.equal("b2", got { grep = "b2" })
        end)
    end)
end)
