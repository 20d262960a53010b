local api = require "dgrun.fly.api"
local err = require "dgrun.core.err"
local fly_run = require "support.fly_run"
local free_port = require "support.port"
local json = require "dgrun.core.json"
local probe = require "dgrun.probe"
local run = require "dgrun.run"
local server = require "host.server"
local task = require "dgrun.core.task"

---Answers each request by `reply(request, number)`, for the length of `body(url, count)`.
local function serving(reply, body)
    local s = assert(server.listen {})
    local seen = { count = 0 }
    task.scope(function()
        local acceptor = task.spawn(function()
            while true do
                local request = s:accept()
                if not request then
                    return
                end
                seen.count = seen.count + 1
                reply(request, seen.count)
            end
        end)
        local ok, e = pcall(body, ("http://127.0.0.1:%d"):format(s:port()), seen)
        s:close()
        acceptor.cancel()
        if not ok then
            error(e, 0)
        end
    end)
end

---A server that answers these one after the other, the last one again and again.
local function answering(list, body)
    serving(function(request, n)
        local answer = list[math.min(n, #list)]
        request:reply(type(answer) == "number" and { status = answer } or answer)
    end, body)
end

local function caught(code, f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    assert.equal(code, err.object(e).code, tostring(e))
    return e
end

local ok_json = { status = 200, headers = { ["Content-Type"] = "application/json" },
    body = '{"status":"ok","n":7,"down":null,"items":[{"id":"a"},{"id":"b"}]}' }

describe("probe.http", function()
    it("takes a status as a number, a class, a range, or a list of these", function()
        answering({ 204 }, function(url)
            for _, expect in ipairs { 204, "204", "2xx", "200-204", { 200, 204 }, { 301, "2xx" },
            } do
                assert.equal(204, probe.http({ url = url, expect = expect }).status)
            end
            for _, expect in ipairs { 200, "3xx", "200-203", { 200, "205-299" } } do
                local e = caught("probe.failed", probe.http, { url = url, expect = expect })
                assert.matches("answered 204, not ", e.msg, 1, true)
            end
            caught("probe.failed", probe.http, { url = url })
            for _, expect in ipairs { 42, "6xx", "ok", "299-200", { "2x" }, {}, 200.5, true } do
                caught("input.invalid", probe.http, { url = url, expect = expect })
            end
        end)
    end)

    it("looks into the body, the headers, and values of JSON", function()
        answering({ ok_json }, function(url)
            local function good(opts)
                opts.url = url
                return probe.http(opts)
            end
            good { body = '"ok"' }
            good { header = { ["content-TYPE"] = "json", ["Content-Length"] = true } }
            good { json = { status = "ok", n = 7, down = json.null, ["items[1].id"] = "b" } }
            local function complaint(opts)
                opts.url = url
                return caught("probe.failed", probe.http, opts).msg
            end
            assert.matches("its body lacks \"bad\"", complaint { body = "bad" }, 1, true)
            assert.matches("lacks the header X-Not",
                complaint { header = { ["X-Not"] = true } }, 1, true)
            assert.matches("its header content-type is \"application/json\", without \"html\"",
                complaint { header = { ["content-type"] = "html" } }, 1, true)
            assert.matches("its status is \"ok\", not \"up\"",
                complaint { json = { status = "up" } }, 1, true)
            assert.matches("its items[2].id is nothing, not \"b\"",
                complaint { json = { ["items[2].id"] = "b" } }, 1, true)
            assert.matches("its n is 7, not \"7\"", complaint { json = { n = "7" } }, 1, true)
            assert.matches("its down is null, not true", complaint { json = { down = true } }, 1,
                true)
            for _, path in ipairs { "", ".a", "a..b", "a[x]", "a[" } do
                caught("input.invalid", probe.http, { url = url, json = { [path] = 1 } })
            end
            caught("input.invalid", probe.http, { url = url, json = { a = { 1 } } })
            caught("input.invalid", probe.http, { url = url, header = { a = 1 } })
        end)
        answering({ 200 }, function(url)
            assert.matches("not valid JSON", caught("probe.failed", probe.http,
                { url = url, json = { a = 1 } }).msg)
        end)
    end)

    it("tries until it is good, so many times in a row", function()
        answering({ 503, 200, 503, 200, 200, 200 }, function(url, seen)
            assert.equal(2, probe.http({ url = url, within = 20, every = 0 }).attempts)
            seen.count = 0
            assert.equal(6, probe.http({ url = url, within = 20, every = 0,
                consecutive = 3 }).attempts)
            seen.count = 3
            -- A row that was begun within the time may end after it.
            assert.equal(3, probe.http({ url = url, every = 0, consecutive = 3 }).attempts)
            seen.count = 1
            local e = caught("probe.failed", probe.http, { url = url, every = 0, consecutive = 2 })
            assert.equal(2, e.attempts)
            caught("input.invalid", probe.http, { url = url, consecutive = 0 })
        end)
    end)

    it("follows redirects where it is told to, and sends headers", function()
        serving(function(request)
            if request.path == "/" then
                return request:reply { status = 302, headers = { Location = "/there" } }
            end
            request:reply { status = request.headers["x-key"] == "k" and 200 or 401 }
        end, function(url)
            caught("probe.failed", probe.http, { url = url })
            probe.http { url = url, follow = true, headers = { ["X-Key"] = "k" } }
        end)
    end)

    it("that nobody answers is bad; without a network of its own it says nothing", function()
        local dead = ("http://127.0.0.1:%d/"):format(free_port())
        caught("probe.failed", probe.http, { url = dead })
        answering({ 500 }, function(control)
            caught("probe.failed", probe.http, { url = dead, control = control })
        end)
        local e = caught("probe.inconclusive", probe.http, { url = dead, control = dead })
        assert.matches("not even from 127.0.0.1: this computer has no network", e.msg, 1, true)
        -- Fly's API is asked where nothing else is said.
        api.use { machines_url = dead }
        caught("probe.inconclusive", probe.http, { url = "http://nosuch.invalid/" })
        caught("probe.failed", probe.http, { url = "http://nosuch.invalid/", control = false })
        api.use {}
        caught("input.invalid", probe.http, { url = dead, control = 1 })
    end)

    it("is only told in a plan", function()
        local record = run.execute({ name = "x", root = "/tmp", plan = true }, function()
            assert.is_nil(probe.http { url = "http://nosuch.invalid/" })
            assert.is_nil(probe.tcp { host = "nosuch.invalid", port = 5432 })
            assert.is_nil(probe.command { argv = { "false" } })
            assert.is_nil(probe.watch { probe = { argv = { "false" } }, duration = 90,
                interval = 10, allowed_failures = 1 })
        end)
        assert.equal("done", record.status, tostring(record.error))
        local notes = {}
        for i, note in ipairs(record.notes) do
            notes[i] = note.text
        end
        assert.same({ "would probe http://nosuch.invalid/",
            "would probe nosuch.invalid port 5432", "would probe 'false'",
            "would watch 'false' for 1m 30s, every 10s, 1 failure allowed" }, notes)
    end)
end)

describe("probe.tcp", function()
    it("is good when something listens, bad when nothing does", function()
        local s = assert(server.listen {})
        assert.equal("127.0.0.1", probe.tcp({ host = "127.0.0.1", port = s:port() }).address)
        local port = s:port()
        s:close()
        local e = caught("probe.failed", probe.tcp, { host = "localhost", port = port })
        assert.matches("localhost port " .. port .. " is not as expected", e.msg, 1, true)
        caught("probe.inconclusive", probe.tcp, { host = "127.0.0.1", port = port,
            control = "http://127.0.0.1:" .. port })
    end)

    it("tries until something listens", function()
        local port = free_port()
        local s
        task.scope(function()
            task.spawn(function()
                task.sleep(0.02)
                s = assert(server.listen { port = port })
            end)
            probe.tcp { host = "127.0.0.1", port = port, within = 20, every = 0.005 }
        end)
        s:close()
    end)

    it("asks the local Fly for an app's address", function()
        fly_run.with(function()
            probe.tcp { host = "web.fly.dev", port = 443 }
        end)
    end)
end)

describe("probe.command", function()
    it("goes by the exit status and the output", function()
        local function sh(script, more)
            local opts = { argv = { "sh", "-c", script } }
            for name, value in pairs(more or {}) do
                opts[name] = value
            end
            return opts
        end
        assert.equal("up\n", probe.command(sh "echo up").stdout)
        assert.equal(3, probe.command(sh("exit 3", { expect = { 0, 3 } })).status)
        probe.command(sh("echo $A", { env = { A = "it is up" }, stdout = "is up" }))
        local e = caught("probe.failed", probe.command, sh "echo first >&2; echo why >&2; exit 4")
        assert.matches("exited with status 4: why", e.msg, 1, true)
        assert.matches("its output lacks \"down\"", caught("probe.failed", probe.command,
            sh("echo up", { stdout = "down" })).msg, 1, true)
        caught("probe.inconclusive", probe.command, sh("exit 75", { unknown = 75 }))
        caught("probe.failed", probe.command, sh("exec sleep 60", { timeout = 0.05 }))
        caught("proc.not_found", probe.command, { argv = { "no-such-program" }, within = 60 })
        caught("input.invalid", probe.command, sh("", { expect = "0" }))
    end)
end)

describe("probe.watch", function()
    ---A probe that gives these one after the other, the last one again and again.
    local function giving(list)
        local n = 0
        return function()
            n = n + 1
            local outcome = list[math.min(n, #list)]
            if outcome == "raise" then
                err.raise { code = "probe.failed", msg = "it raised" }
            elseif outcome == "offline" then
                err.raise { code = "probe.inconclusive", msg = "no network" }
            end
            return outcome, "said " .. tostring(outcome)
        end
    end

    local function watch(list, more)
        local opts = { probe = giving(list), duration = 0.03, interval = 0.01, min_samples = 1 }
        for name, value in pairs(more or {}) do
            opts[name] = value
        end
        return probe.watch(opts)
    end

    it("is good when no more tries are bad than allowed", function()
        local verdict = watch { true }
        assert.equal("good", verdict.outcome)
        assert.equal(0, verdict.bad)
        assert.is_true(verdict.good >= 1)
        verdict = watch({ false, true }, { allowed_failures = 1, duration = 5, interval = 0.01,
            probe = giving { false, true } })
        assert.equal("good", verdict.outcome)
        assert.equal(1, verdict.bad)
    end)

    it("is bad as soon as there are too many, and raises", function()
        for _, list in ipairs { { false }, { "raise" }, { true, false } } do
            local e = caught("probe.bad", watch, list, { duration = 600 })
            assert.equal("bad", e.verdict.outcome)
            assert.equal(1, e.verdict.bad)
        end
        local e = caught("probe.bad", watch, { true, false, true, false },
            { duration = 600, allowed_failures = 1, name = "the shop" })
        assert.matches("the shop: 2 good, 2 bad; said false", e.msg, 1, true)
        local verdict = watch({ false }, { on_bad = "return" })
        assert.equal("bad", verdict.outcome)
    end)

    it("that never was good is bad, whatever is allowed", function()
        assert.equal("bad", watch({ false }, { allowed_failures = 1000,
            on_bad = "return" }).outcome)
    end)

    it("is inconclusive when the tries say nothing, or are too few", function()
        for _, list in ipairs { { "unknown" }, { "offline" } } do
            local verdict = watch(list)
            assert.equal("inconclusive", verdict.outcome)
            assert.equal(0, verdict.good + verdict.bad)
            assert.is_true(verdict.unknown >= 1)
        end
        -- One try takes all the time there is.
        local verdict = probe.watch { duration = 0.05, interval = 0.01,
            probe = function() task.sleep(0.06) end }
        assert.equal("inconclusive", verdict.outcome)
        assert.equal(1, verdict.good)
        assert.matches("too few to judge (3 needed)", verdict.why, 1, true)
        local e = caught("probe.inconclusive", watch, { "offline" }, { on_inconclusive = "raise" })
        assert.matches("no network", e.msg)
        assert.equal("inconclusive", e.verdict.outcome)
    end)

    it("tells loudly what is inconclusive", function()
        local record = run.execute({ name = "x", root = "/tmp", journal = false }, function()
            watch({ "unknown" }, { name = "the shop" })
        end)
        assert.equal("done", record.status)
        assert.matches("^INCONCLUSIVE: the shop: 0 good, 0 bad", record.notes[1].text)
        assert.equal("inconclusive", record.facts[1].name)
    end)

    it("that is cancelled says what it saw, and that it is not known", function()
        local seen
        task.scope(function()
            local child
            child = task.spawn(function()
                local ok, e = pcall(watch, { true }, { duration = 600, interval = 600 })
                assert(not ok)
                seen = e
                error(e, 0)
            end)
            task.sleep(0.01)
            child.cancel()
            child.join()
        end)
        assert.equal("cancelled", seen.code)
        assert.equal("inconclusive", seen.verdict.outcome)
        assert.equal(1, seen.verdict.good)
    end)

    it("watches by the options of a probe", function()
        answering({ 200, 503, 200 }, function(url)
            local verdict = probe.watch { probe = { url = url }, duration = 5, interval = 0.01,
                allowed_failures = 0, min_samples = 1, on_bad = "return" }
            assert.equal("bad", verdict.outcome)
            assert.equal(1, verdict.good)
            assert.matches("answered 503, not 200", verdict.why)
        end)
        local dead = { host = "127.0.0.1", port = free_port() }
        assert.equal("bad", probe.watch({ probe = dead, duration = 0, on_bad = "return" }).outcome)
        dead.control = "http://127.0.0.1:" .. dead.port
        assert.equal("inconclusive", probe.watch({ probe = dead, duration = 0 }).outcome)
        assert.equal("good", probe.watch({ probe = { argv = { "true" } }, duration = 0 }).outcome)
    end)

    it("refuses what it cannot be told", function()
        local function refused(code, opts)
            opts.duration = opts.duration or 1
            opts.interval = opts.interval or 1
            return caught(code, probe.watch, opts)
        end
        refused("input.invalid", { probe = 1 })
        refused("input.invalid", { probe = {} })
        refused("input.invalid", { probe = { url = "http://x", within = 3 } })
        refused("input.unknown_option", { probe = { url = "http://x", bdy = "" } })
        refused("input.invalid", { probe = print, min_samples = 3 })
        refused("input.invalid", { probe = print, interval = 0 })
        refused("input.invalid", { probe = print, on_bad = "ignore" })
        refused("input.missing_option", {})
    end)

    it("raises the mistakes of a probe that is a function", function()
        local ok, e = pcall(probe.watch, { probe = function() error "oops" end, duration = 1 })
        assert.is_false(ok)
        assert.matches("oops", tostring(e))
        caught("input.unknown_option", probe.watch,
            { probe = function() probe.http { urll = "x" } end, duration = 1 })
    end)

    it("knows nothing while Fly's API is out of reach", function()
        local verdict = probe.watch { duration = 0,
            probe = function() err.raise { code = "fly.unreachable", msg = "nobody" } end }
        assert.equal("inconclusive", verdict.outcome)
        assert.equal("bad", probe.watch({ duration = 0, on_bad = "return",
            probe = function() err.raise { code = "fly.not_found", msg = "gone" } end }).outcome)
    end)
end)
