-- Runs of one group, each a process of its own.
local fs = require "host.fs"
local history = require "dgrun.run.history"
local journal = require "dgrun.run.journal"
local process = require "dgrun.core.process"
local scripts = require "support.scripts"
local stores = require "support.stores"
local task = require "dgrun.core.task"
local tickets = require "dgrun.run.tickets"
local until_true = require("support.wait").until_true
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

-- Exit statuses: the group is somebody else's; a newer run took its place.
local REFUSED, SUPERSEDED = 4, 5

-- What it does is written to the file `order`; it goes on when the test makes a file of its name.
local head = [[
local dg = require "dgrun"
local fs = require "host.fs"
local run = require "dgrun.run"
local tickets, lease = require "dgrun.run.tickets", require "dgrun.run.lock"
tickets.ttl, lease.heartbeat, lease.poll = %g, %g, 0.05
local function await(name)
    while not fs.exists(name) do
        dg.task.sleep(0.01)
    end
end
local function put(what)
    dg.effect.write { kind = "x.put", target = "x", summary = "put " .. what, apply = function()
        assert(fs.append("order", what .. "\n"))
    end }
end
return dg.pipeline {
    description = "a run of a group", inputs = { name = {} },
    concurrency = { group = "app", when_busy = "%s" },
    run = function(input)
        local name = input.name
        dg.step("Work", function()
            %s
        end)
    end,
}
]]

local works = [[
    put("begin " .. name)
    await(name)
    put("end " .. name)]]

-- One effect after another.
local keeps_working = [[
    local n = 0
    while true do
        n = n + 1
        put(name .. " " .. n)
        print("put " .. name .. " " .. n)
        require("host.log").flush()
        while fs.exists "rest" do
            dg.task.sleep(0.01)
        end
    end]]

---@param opts? {when_busy?: string, body?: string, ttl?: number, heartbeat?: number}
local function start(place, name, opts)
    opts = opts or {}
    return scripts.start(place, head:format(opts.ttl or 30, opts.heartbeat or 0.1,
        opts.when_busy or "wait", opts.body or works), "--name", name)
end

local function go(place, name)
    assert(fs.write(place.root / name, ""))
end

local function order(place)
    return (fs.read(place.root / "order") or ""):gsub("\n", ",")
end

local function await_order(place, text)
    until_true(function() return order(place) == text end)
end

local function await_tickets(store, count)
    return until_true(function()
        local list = tickets.list(store, "app")
        return #list == count and list
    end)
end

---Starts them one after the other, so that their order is known.
local function start_all(place, store, names, opts)
    local children = {}
    for i, name in ipairs(names) do
        children[i] = start(place, name, opts)
        await_tickets(store, i)
    end
    return unpack(children)
end

---The run that has this input, as history has it.
local function run_of(store, name)
    for _, row in ipairs(history.list(store, { limit = 99 })) do
        if row.input.name == name then
            return row
        end
    end
end

local function ends(child, status)
    local exit = child.ended()
    assert.equal(status, exit.status, child.text())
    return child.text()
end

---Who stands still in the middle of a write to a file keeps all others from it.
local function stop_between_writes(child, store)
    repeat
        child.kill "SIGSTOP"
        local ok = pcall(task.timeout, 1, function() store:kv_put("a", 1) end)
        if not ok then
            child.kill "SIGCONT"
            task.sleep(0.05)
        end
    until ok
end

local function suite(kind)
    describe(kind .. ":", function()
        local function with_store(body)
            return function()
                local place = stores.new(kind)
                body(place, place.open())
            end
        end

        it("come one by one, in their order, and tell whom they wait for",
            with_store(function(place, store)
                local a = start(place, "a")
                a.said "put begin a"
                local b = start(place, "b")
                await_tickets(store, 2)
                local c = start(place, "c")
                await_tickets(store, 3)
                local holder, own = run_of(store, "a"), process.own()
                local line = b.said "Waiting for app"
                for _, part in ipairs { holder.id, ("%s on %s (pid %d)"):format(own.who, own.host,
                    a.pid), "since " .. os.date("!%H:", math.floor(holder.started)), " UTC (",
                    "at step Work", holder.name .. " --name a" } do
                    assert.matches(part, line, 1, true)
                end
                assert.matches("and 1 more run before this run", c.said "Waiting for app", 1, true)
                assert.equal("waiting", run_of(store, "b").status)
                assert.equal("running", run_of(store, "a").status)
                go(place, "a")
                ends(a, 0)
                assert.is_nil(a.text():find("aiting", 1, true))
                b.said "It is this run's turn: app is free"
                await_order(place, "begin a,end a,begin b,")
                assert.equal("running", run_of(store, "b").status)
                c.said(run_of(store, "b").id)
                go(place, "c")
                go(place, "b")
                ends(b, 0)
                ends(c, 0)
                assert.equal("begin a,end a,begin b,end b,begin c,end c,", order(place))
                assert.same({}, tickets.list(store))
            end))

        it("fail when they are not to wait", with_store(function(place, store)
            local a = start(place, "a", { when_busy = "fail" })
            a.said "put begin a"
            local text = ends(start(place, "b", { when_busy = "fail" }), REFUSED)
            assert.matches("app is busy: " .. run_of(store, "a").id, text, 1, true)
            assert.matches("at step Work", text, 1, true)
            assert.equal("lock.busy", run_of(store, "b").error.code)
            go(place, "a")
            ends(a, 0)
            tickets.hold(store, "app", "an incident")
            text = ends(start(place, "c", { when_busy = "fail" }), REFUSED)
            assert.matches("app was frozen by", text, 1, true)
            assert.matches("an incident", text, 1, true)
            assert.equal("lock.held", run_of(store, "c").error.code)
            assert.equal("begin a,end a,", order(place))
            assert.same({}, tickets.list(store))
        end))

        it("take the place of those before, which end at a safe point",
            with_store(function(place, store)
                local body = [[
                    run.finish("the end of the change", function() %s end)
                    put("more " .. name)]]
                local a, b = start_all(place, store, { "a", "b" },
                    { when_busy = "supersede", body = body:format(works) })
                await_order(place, "begin a,")
                local c = start(place, "c", { when_busy = "supersede" })
                local text = ends(b, SUPERSEDED)
                assert.matches("the newer run " .. run_of(store, "c").id .. " takes over", text, 1,
                    true)
                a.said "Stopping: waiting for the end of the change"
                await_tickets(store, 2)
                go(place, "a")
                assert.matches("the newer run " .. run_of(store, "b").id, ends(a, SUPERSEDED), 1,
                    true)
                go(place, "c")
                ends(c, 0)
                assert.equal("begin a,end a,begin c,end c,", order(place))
                assert.same({ "superseded", "superseded", "done" }, { run_of(store, "a").status,
                    run_of(store, "b").status, run_of(store, "c").status })
                assert.equal("run.superseded", run_of(store, "a").error.code)
            end))

        it("wait while the group is frozen, and are told why", with_store(function(place, store)
            tickets.hold(store, "app", "an incident")
            local a, b = start_all(place, store, { "a", "b" })
            local line = a.said "app was frozen by"
            for _, part in ipairs { process.own().who .. " on " .. process.own().host,
                "an incident", "dgrun lock release app" } do
                assert.matches(part, line, 1, true)
            end
            b.said "an incident"
            task.sleep(0.3)
            assert.equal("", order(place))
            tickets.release_hold(store, "app")
            await_order(place, "begin a,")
            go(place, "b")
            go(place, "a")
            ends(a, 0)
            ends(b, 0)
            assert.equal("begin a,end a,begin b,end b,", order(place))
        end))

        it("do not wait for who was killed", with_store(function(place, store)
            local a, b, c = start_all(place, store, { "a", "b", "c" })
            await_order(place, "begin a,")
            b.kill "SIGKILL"
            b.ended()
            a.kill "SIGKILL"
            a.ended()
            await_order(place, "begin a,begin c,")
            assert.same({ "killed", "killed" },
                { run_of(store, "a").status, run_of(store, "b").status })
            go(place, "c")
            ends(c, 0)
        end))

        it("wait for the children of who was killed", with_store(function(place, store)
            local a, b = start_all(place, store, { "a", "b" }, { body = [[
                put("begin " .. name)
                dg.proc.run { argv = { "sh", "-c",
                    "while [ ! -e go ]; do sleep 0.02; done; echo end " .. name .. " >> order" } }
            ]] })
            await_order(place, "begin a,")
            until_true(function()
                return #process.children(run_of(store, "a").id) > 0
            end)
            assert(require("host.proc").run { argv = { "kill", "-KILL", tostring(a.pid) } })
            local line = b.said "was killed, but its child"
            assert.matches("sh -c while", line, 1, true)
            task.sleep(0.3)
            assert.equal("begin a,", order(place))
            go(place, "go")
            ends(b, 0)
            assert.equal("begin a,end a,begin b,end b,", order(place))
        end))

        it("leave the queue when they are interrupted", with_store(function(place, store)
            local a, b, c = start_all(place, store, { "a", "b", "c" })
            b.said "Waiting"
            b.kill "SIGINT"
            ends(b, 130)
            assert.equal(2, #tickets.list(store, "app"))
            assert.equal("cancelled", run_of(store, "b").status)
            go(place, "a")
            go(place, "c")
            ends(a, 0)
            ends(c, 0)
            assert.equal("begin a,end a,begin c,end c,", order(place))
        end))

        it("begin nothing more when the group was taken away", with_store(function(place, store)
            -- Before the heartbeat hears of it.
            local a = start(place, "a", { body = keeps_working, heartbeat = 60 })
            a.said "put a 3"
            go(place, "rest")
            local ticket = await_tickets(store, 1)[1]
            local before = until_true(function()
                local text = order(place)
                task.sleep(0.2)
                return text == order(place) and text
            end)
            tickets.give_back(store, ticket.ticket)
            assert(fs.remove(place.root / "rest"))
            local text = ends(a, REFUSED)
            assert.matches("this run no longer holds app", text, 1, true)
            assert.equal(before, order(place))
            local row = run_of(store, "a")
            assert.same({ "failed", "lock.lost" }, { row.status, row.error.code })
            for _, e in ipairs(journal.effects(store, row.id)) do
                assert.equal("done", e.status)
            end
            -- By the heartbeat, in a wait.
            local b = start(place, "b")
            await_order(place, before .. "begin b,")
            tickets.give_back(store, tickets.list(store, "app")[1].ticket)
            ends(b, REFUSED)
            assert.equal("lock.lost", run_of(store, "b").error.code)
            assert.equal(before .. "begin b,", order(place))
        end))

        it("lose it when they stand still for too long, and begin nothing after that",
            with_store(function(place, store)
                local a = start(place, "a", { body = keeps_working, ttl = 1 })
                a.said "put a 3"
                go(place, "rest")
                local b = start(place, "b", { ttl = 1 })
                b.said "Waiting for app"
                stop_between_writes(a, store)
                local had = order(place)
                assert(fs.remove(place.root / "rest"))
                await_order(place, had .. "begin b,")
                assert.equal(1, #tickets.list(store, "app"))
                a.kill "SIGCONT"
                local text = ends(a, REFUSED)
                assert.matches("this run no longer holds app: now held by "
                    .. run_of(store, "b").id, text, 1, true)
                assert.equal("lock.lost", run_of(store, "a").error.code)
                assert.equal(had .. "begin b,", order(place))
                task.sleep(1.5)
                assert.equal(run_of(store, "b").id, tickets.list(store, "app")[1].run)
                go(place, "b")
                ends(b, 0)
            end))

        it("go to the end of the queue when they stood still in it",
            with_store(function(place, store)
                local a, b, c = start_all(place, store, { "a", "b", "c" }, { ttl = 1 })
                b.kill "SIGSTOP"
                await_tickets(store, 2)
                b.kill "SIGCONT"
                await_tickets(store, 3)
                for _, name in ipairs { "a", "b", "c" } do
                    go(place, name)
                end
                ends(a, 0)
                ends(b, 0)
                ends(c, 0)
                assert.equal("begin a,end a,begin c,end c,begin b,end b,", order(place))
            end))

        it("are not wanted when a newer one came while they stood still",
            with_store(function(place, store)
                local body = [[
                    run.finish("the end of the change", function() %s end)]]
                local opts = { when_busy = "supersede", ttl = 1, body = body:format(works) }
                local a, b = start_all(place, store, { "a", "b" }, opts)
                await_order(place, "begin a,")
                b.said "Waiting for app"
                stop_between_writes(b, store)
                local c = start(place, "c", opts)
                c.said "Waiting for app"
                local list = await_tickets(store, 2)
                assert.equal(run_of(store, "c").id, list[2].run)
                b.kill "SIGCONT"
                assert.matches("the newer run " .. run_of(store, "c").id, ends(b, SUPERSEDED), 1,
                    true)
                go(place, "a")
                go(place, "c")
                ends(a, 0) -- nothing was left to do
                ends(c, 0)
                assert.equal("begin a,end a,begin c,end c,", order(place))
            end))

        it("leave to another process what it goes on with", with_store(function(place, store)
            local a = start(place, "a", { ttl = 1 })
            await_order(place, "begin a,")
            stop_between_writes(a, store)
            local row = run_of(store, "a")
            local number = tickets.list(store, "app")[1].ticket
            assert.is_true(journal.claim(store, row))
            tickets.forget_run(store, row.id)
            local mine = tickets.draw(store, { name = "app", run = row.id, reason = "again" })
            assert.is_true(mine ~= number)
            assert.is_true(tickets.take(store, mine, "app"))
            journal.step_start(store, { id = row.id, attempt = 2 }, { seq = 1, name = "Work" })
            a.kill "SIGCONT"
            go(place, "a")
            ends(a, REFUSED)
            assert.equal("begin a,", order(place))
            local now = journal.run(store, row.id)
            assert.same({ "running", 2 }, { now.status, now.attempt })
            assert.equal("running", journal.steps(store, row.id)[1].status)
            assert.equal(mine, tickets.list(store, "app")[1].ticket)
        end))
    end)
end

describe("runs of a group in", function()
    setup(function() stores.start(false) end)
    teardown(function() stores.stop() end)
    suite(stores.kinds[1])
    suite(stores.kinds[2])
end)
