-- What every store does, wherever it is.
local fs = require "host.fs"
local history = require "dgrun.run.history"
local journal = require "dgrun.run.journal"
local process = require "dgrun.core.process"
local rows = require "dgrun.run.store_rows"
local run = require "dgrun.run"
local schema = require "dgrun.run.store_schema"
local scripts = require "support.scripts"
local secret = require "host.secret"
local sqlite = require "host.sqlite"
local store_of = require "dgrun.run.store"
local stores = require "support.stores"
local task = require "dgrun.core.task"
local tickets = require "dgrun.run.tickets"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local SECRET = "correct horse battery"

---A run as journal.run_start takes it.
local function a_run(place, over)
    local r = { id = "20260801-100102-aaaa", name = "deploy", root = place.root, input = {},
        started_at = 1754042462.25, attempt = 1, status = "running" }
    for name, value in pairs(over or {}) do
        r[name] = value
    end
    return r
end

local function an_effect(seq, over)
    local e = { seq = seq, kind = "x.put", target = "x", summary = "put x", status = "done" }
    for name, value in pairs(over or {}) do
        e[name] = value
    end
    return e
end

---A run whose store is this one.
local function execute(place, store, fn, opts)
    opts = opts or {}
    opts.name, opts.root = "test", place.root
    return run.execute(opts, function(r)
        store_of.adopt(r, store)
        journal.run_start(store, r)
        return fn(r)
    end)
end

local function ticket_of(store, name, id)
    return tickets.draw(store, { name = name, run = id, reason = "deploy of " .. id })
end

local function fails(code, f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    assert.equal(code, e.code)
    return e
end

---Every cell of the store, as text.
local function everything(store)
    local parts = {}
    for _, name in ipairs { "runs", "steps", "effects", "kv", "tickets", "holds" } do
        for _, row in ipairs(store:query("SELECT * FROM @" .. name)) do
            for column, value in pairs(row) do
                parts[#parts + 1] = ("%s.%s=%s"):format(name, column, tostring(value))
            end
        end
    end
    return table.concat(parts, "\n")
end

-- The statements of version 1, and what a dgrun of that time wrote.
local first_version = {}
for _, statement in ipairs(schema.versions[1]) do
    first_version[#first_version + 1] = statement
end
for _, statement in ipairs {
    [[INSERT INTO @runs VALUES ('20250101-000000-old1', 'deploy', 'scripts/deploy.lua',
        '{"ref":"v1"}', 0, 'laptop', 4711, 'done', 1735689600.5, 1735689700, NULL)]],
    [[INSERT INTO @steps VALUES ('20250101-000000-old1', 1, 'Build', 'done', 1735689600.5,
        1735689650, '{"image":"a:2"}', NULL)]],
    [[INSERT INTO @effects VALUES ('20250101-000000-old1', 1, 1, 'x.put', 'x', 'put x', NULL,
        '{"n":2}', 'done', 1735689600.5, 1735689601, '"r"', NULL)]],
    [[INSERT INTO @kv VALUES ('a', '{"n":1}', 1735689600)]],
} do
    first_version[#first_version + 1] = statement
end

local function write_first_version(place)
    if place.url then
        stores.ask "CREATE SCHEMA dgrun"
        stores.ask "CREATE TABLE dgrun.meta (version BIGINT PRIMARY KEY)"
        for _, statement in ipairs(first_version) do
            stores.ask((statement:gsub("@", "dgrun.")))
        end
        stores.ask "INSERT INTO dgrun.meta VALUES (1)"
        return
    end
    assert(fs.mkdir(place.root / ".dgrun"))
    local db = assert(sqlite.open(place.root / ".dgrun/state.db"))
    for _, statement in ipairs(first_version) do
        assert(db:exec((statement:gsub("@", ""))))
    end
    assert(db:exec "PRAGMA user_version = 1")
    db:close()
end

local function write_newer_version(place)
    place.open():close()
    if place.url then
        stores.ask "INSERT INTO dgrun.meta VALUES (99)"
        return
    end
    local db = assert(sqlite.open(place.root / ".dgrun/state.db"))
    assert(db:exec "PRAGMA user_version = 99")
    db:close()
end

local function suite(kind)
    describe(kind .. ":", function()
        it("values are put, read and added", function()
            local place = stores.new(kind)
            local store, other = place.open(), place.open()
            assert.is_nil(store:kv_get "a")
            store:kv_put("a", { n = 1, list = { "x", "y" } })
            assert.same({ n = 1, list = { "x", "y" } }, other:kv_get "a")
            store:kv_put("a", "it's \"two\" $1 ? @runs")
            assert.equal("it's \"two\" $1 ? @runs", other:kv_get "a")
            for _, value in ipairs { false, 0, 1.5, 2 ^ 52, "", "ü€\n" } do
                store:kv_put("b", value)
                assert.equal(value, other:kv_get "b")
            end
            local kept = task.all {
                function() return store:kv_add("c", "one") end,
                function() return other:kv_add("c", "two") end,
            }
            assert.equal(kept[1], kept[2])
            assert.equal(kept[1], store:kv_add("c", "three"))
            assert.is_false(store:kv_add("d", false))
            assert.is_false(store:kv_add("d", true))
        end)

        it("who only reads changes nothing", function()
            local place = stores.new(kind)
            local reader = place.open { read_only = true }
            assert.is_nil(reader:kv_get "a")
            assert.same({}, history.list(reader, { limit = 9 }))
            reader:kv_put("a", 1)
            assert.equal(1, reader:kv_add("a", 1))
            local store = place.open()
            assert.is_nil(store:kv_get "a")
            store:kv_put("a", false)
            reader = place.open { read_only = true }
            reader:kv_put("a", 1)
            assert.is_false(reader:kv_add("a", 1))
            assert.is_false(store:kv_get "a")
        end)

        it("the journal has a run, its steps and its effects", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = execute(place, store, function()
                run.step("Deploy", function()
                    require("dgrun.run.effect").write {
                        kind = "x.put", target = "x", summary = "put x", before = { n = 1 },
                        after = { n = 2 }, once = "k", apply = function() return false end,
                    }
                    return { image = "a:2" }
                end)
                run.step("Check", function() return false end)
            end, { input = { ref = "v1" }, sandbox = true, source = "text",
                arguments = { "--ref", "v1" } })
            assert.is_nil(r.error)
            store = place.open()
            local one = journal.run(store, r.id)
            assert.same({ ref = "v1" }, one.input)
            assert.same({ "--ref", "v1" }, one.arguments)
            assert.same({ "done", 1, 1, "text", place.root, process.own().pid },
                { one.status, one.sandbox, one.attempt, one.source, one.root, one.pid })
            assert.is_true(math.abs(one.started - r.started_at) < 0.001)
            assert.is_true(one.finished >= one.started)
            local steps = journal.steps(store, r.id)
            assert.same({ 1, "Deploy", "done", { image = "a:2" }, 1 }, { steps[1].seq,
                steps[1].name, steps[1].status, steps[1].result, steps[1].attempt })
            assert.is_false(steps[2].result)
            local e = journal.effects(store, r.id)[1]
            assert.same({ 1, 1, { n = 1 }, { n = 2 }, false, "k", "done" }, { e.seq, e.step,
                e.before, e.after, e.result, e.once, e.status })
            assert.is_nil(journal.run(store, "nosuch"))
        end)

        it("an intent stands there before its effect begins, its outcome after", function()
            local place = stores.new(kind)
            local store, other = place.open(), place.open()
            local seen, id
            local r = execute(place, store, function(mine)
                id = mine.id
                require("dgrun.run.effect").write {
                    kind = "x.put", target = "x", summary = "put x", apply = function()
                        seen = journal.effects(other, id)[1]
                        error "no"
                    end,
                }
            end)
            assert.same({ "intent" }, { seen.status, seen.finished })
            local e = journal.effects(other, id)[1]
            assert.equal("failed", e.status)
            assert.matches("no", e.error.msg)
            assert.equal("failed", journal.run(other, id).status)
            assert.equal(r.error.msg, journal.run(other, id).error.msg)
        end)

        it("a statement that is made twice does what it does once", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = a_run(place)
            local step = { seq = 1, name = "A", status = "done", result = 1 }
            local twice = setmetatable({ backend = { query = function(_, ...)
                store.backend:query(...)
                return store.backend:query(...)
            end } }, { __index = store })
            r.lease = { ticket = ticket_of(twice, "app", r.id), lost_error = error }
            assert.is_true(tickets.take(twice, r.lease.ticket, "app"))
            journal.run_start(twice, r)
            journal.step_start(twice, r, step)
            journal.effect_intent(twice, r, an_effect(1))
            journal.effect_end(twice, r, an_effect(1))
            journal.step_end(twice, r, step)
            tickets.hold(twice, "app", "why")
            assert.equal("why", tickets.hold_of(store, "app").reason)
            assert.truthy(tickets.renew(twice, r.lease.ticket))
            assert.equal(1, #tickets.list(store))
            assert.equal(1, #journal.effects(store, r.id))
            local row = journal.run(store, r.id)
            assert.is_true(journal.claim(twice, row))
            assert.equal(2, journal.run(store, r.id).attempt)
            tickets.give_back(twice, r.lease.ticket)
            assert.same({}, tickets.list(store))
        end)

        it("what a killed run began is unknown, and settled by who goes on with it", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = a_run(place)
            journal.run_start(store, r)
            journal.step_start(store, r, { seq = 1, name = "A" })
            local function intent(seq, status)
                local e = an_effect(seq, { step = { seq = 1 }, status = status })
                journal.effect_intent(store, r, e)
                if status then
                    journal.effect_end(store, r, e)
                end
            end
            intent(1, "done")
            intent(2)
            intent(3, "interrupted")
            intent(4, "failed")
            local function all()
                local list = {}
                for i, e in ipairs(journal.effects(store, r.id)) do
                    list[i] = e.status
                end
                return table.concat(list, " ")
            end
            assert.is_true(journal.claim(store, journal.run(store, r.id)))
            assert.equal("done unknown unknown failed", all())
            r.attempt = 2
            journal.step_start(store, r, { seq = 1, name = "A" })
            assert.equal(2, journal.steps(store, r.id)[1].attempt)
            journal.step_end(store, r, { seq = 1, name = "A", status = "failed" })
            assert.equal("done unknown unknown failed", all())
            journal.step_end(store, r, { seq = 1, name = "A", status = "done" })
            assert.equal("done settled settled failed", all())
        end)

        it("the end of an earlier attempt is not that of a later one", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = a_run(place)
            journal.run_start(store, r)
            assert.is_true(journal.claim(store, journal.run(store, r.id)))
            r.status = "failed"
            journal.run_end(store, r)
            assert.equal("running", journal.run(store, r.id).status)
            r.attempt, r.status = 2, "done"
            journal.run_end(store, r)
            assert.equal("done", journal.run(store, r.id).status)
        end)

        it("one of two that claim a run at once gets it", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = a_run(place)
            journal.run_start(store, r)
            local text = ([[
                local journal = require "dgrun.run.journal"
                local store = require("dgrun.run.store").open(%q)
                local row = journal.run(store, %q)
                print "ready"
                while not require("host.fs").exists "go" do
                    require("dgrun.core.task").sleep(0.001)
                end
                print(journal.claim(store, row) and "won" or "lost")
                store:close()]]):format(place.root, r.id)
            local children = {}
            for i = 1, 4 do
                children[i] = scripts.start(place, text)
            end
            for _, child in ipairs(children) do
                child.said "ready"
            end
            assert(fs.write(place.root / "go", ""))
            local won = 0
            for _, child in ipairs(children) do
                assert.equal(0, child.ended().status, child.text())
                assert.is_truthy(child.text():find("won", 1, true) or
                    child.text():find("lost", 1, true))
                won = won + (child.text():find("won", 1, true) and 1 or 0)
            end
            assert.equal(1, won)
            assert.equal(2, journal.run(store, r.id).attempt)
        end)

        it("a run has one number in a queue, and queues go in order", function()
            local place = stores.new(kind)
            local store = place.open()
            local a, b = ticket_of(store, "app", "a"), ticket_of(store, "app", "b")
            assert.is_true(a < b)
            assert.equal(a, ticket_of(store, "app", "a"))
            local other = ticket_of(store, "other", "c")
            assert.is_false(tickets.take(store, b, "app"))
            assert.is_true(tickets.take(store, a, "app"))
            assert.is_true(tickets.take(store, a, "app"))
            assert.is_false(tickets.take(store, b, "app"))
            assert.is_true(tickets.take(store, other, "other"))
            local list = tickets.list(store, "app")
            assert.same({ "a", "holding", "b", "waiting" },
                { list[1].run, list[1].state, list[2].run, list[2].state })
            assert.equal(3, #tickets.list(store))
            for _, row in ipairs(list) do
                assert.is_true(row.left > 0 and row.left <= tickets.ttl)
                assert.equal(process.own().pid, row.pid)
                assert.equal("deploy of " .. row.run, row.reason)
            end
            tickets.give_back(store, a)
            assert.is_true(tickets.take(store, b, "app"))
            tickets.forget_run(store, "b")
            assert.same({}, tickets.list(store, "app"))
        end)

        it("a ticket tells the script and the step of its run", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = a_run(place)
            journal.run_start(store, r)
            ticket_of(store, "app", r.id)
            assert.is_nil(tickets.list(store, "app")[1].step)
            journal.step_start(store, r, { seq = 1, name = "Build", status = "done" })
            journal.step_end(store, r, { seq = 1, name = "Build", status = "done" })
            journal.step_start(store, r, { seq = 2, name = "Migrate" })
            local row = tickets.list(store, "app")[1]
            assert.same({ "deploy", "Migrate" }, { row.script, row.step })
        end)

        it("a ticket is never seen without a time", function()
            local place = stores.new(kind)
            local store, other = place.open(), place.open()
            local stop = false
            task.all {
                function()
                    for i = 1, 30 do
                        ticket_of(store, "app", "r" .. i)
                    end
                    stop = true
                end,
                function()
                    while not stop do
                        for _, row in ipairs(tickets.list(other)) do
                            assert.is_true(row.left > 1)
                        end
                    end
                end,
            }
        end)

        it("one of 20 that take a group at once has it, then the next, in order", function()
            local place = stores.new(kind)
            local own, numbers = {}, {}
            for i = 1, 20 do
                own[i] = place.open()
                numbers[i] = ticket_of(own[i], "app", "r" .. i)
            end
            for round = 1, 3 do
                local takers = {}
                for i = round, 20 do
                    takers[#takers + 1] = function()
                        return tickets.take(own[i], numbers[i], "app")
                    end
                end
                for i, taken in ipairs(task.all(takers)) do
                    assert.equal(i == 1, taken)
                end
                tickets.give_back(own[round], numbers[round])
            end
        end)

        it("20 that draw and take at once never have a group together", function()
            local place = stores.new(kind)
            local own, holding, had = {}, 0, 0
            for i = 1, 20 do
                own[i] = place.open()
            end
            task.map(own, {}, function(store, i)
                local number = ticket_of(store, "app", "r" .. i)
                while not tickets.take(store, number, "app") do
                    task.sleep(0.02)
                end
                holding, had = holding + 1, had + 1
                assert.equal(1, holding)
                task.sleep(0.002)
                holding = holding - 1
                tickets.give_back(store, number)
            end)
            assert.equal(20, had)
        end)

        it("a ticket that is not renewed may be removed, another not", function()
            local place = stores.new(kind)
            local store = place.open()
            local ttl = tickets.ttl
            task.defer(function() tickets.ttl = ttl end)
            tickets.ttl = 0.3
            local a, b = ticket_of(store, "app", "a"), ticket_of(store, "app", "b")
            assert.is_true(tickets.take(store, a, "app"))
            local seen = tickets.list(store, "app")
            assert.is_false(tickets.remove_dead(store, seen[1], false))
            task.sleep(0.35)
            assert.is_true(tickets.list(store, "app")[1].left <= 0)
            assert.same({}, tickets.renew(store, a))
            assert.is_false(tickets.remove_dead(store, seen[1], false))
            assert.is_true(tickets.remove_dead(store, seen[2], false))
            assert.is_nil(tickets.renew(store, b))
            assert.is_false(tickets.take(store, b, "app"))
            assert.is_true(tickets.remove_dead(store, seen[1], true))
            assert.is_nil(tickets.renew(store, a))
        end)

        it("who supersedes is wanted instead of all who came before", function()
            local place = stores.new(kind)
            local store = place.open()
            local a, b, c = ticket_of(store, "app", "a"), ticket_of(store, "app", "b"),
                ticket_of(store, "app", "c")
            local other, d = ticket_of(store, "other", "o"), ticket_of(store, "app", "d")
            assert.is_true(tickets.take(store, a, "app"))
            tickets.supersede(store, b, "app", "b")
            tickets.supersede(store, c, "app", "c")
            assert.same({ superseded_by = "b" }, tickets.renew(store, a))
            assert.same({ superseded_by = "c" }, tickets.renew(store, b))
            assert.same({}, tickets.renew(store, c))
            assert.same({}, tickets.renew(store, d))
            assert.same({}, tickets.renew(store, other))
            tickets.give_back(store, a)
            assert.is_false(tickets.take(store, b, "app"))
            tickets.give_back(store, b)
            assert.is_true(tickets.take(store, c, "app"))
        end)

        it("who has no ticket, or only waits, begins no effect", function()
            local place = stores.new(kind)
            local store = place.open()
            local r = a_run(place)
            journal.run_start(store, r)
            local number = ticket_of(store, "app", r.id)
            r.lease = { ticket = number, lost_error = function() return { code = "gone" } end }
            fails("gone", journal.effect_intent, store, r, an_effect(1))
            assert.is_true(tickets.take(store, number, "app"))
            journal.effect_intent(store, r, an_effect(1))
            journal.effect_intent(store, r, an_effect(1))
            tickets.give_back(store, number)
            fails("gone", journal.effect_intent, store, r, an_effect(2))
            assert.equal(1, #journal.effects(store, r.id))
        end)

        it("nobody takes a group that is frozen", function()
            local place = stores.new(kind)
            local store = place.open()
            local a = ticket_of(store, "app", "a")
            assert.is_true(tickets.hold(store, "app", "an incident"))
            assert.is_false(tickets.hold(store, "app", "another"))
            local hold = tickets.hold_of(store, "app")
            assert.same({ "app", "an incident", process.own().host },
                { hold.name, hold.reason, hold.host })
            assert.is_true(math.abs(hold.since - require("host.time").wall()) < 60)
            assert.same({ hold }, tickets.holds(store))
            assert.is_false(tickets.take(store, a, "app"))
            assert.is_true(tickets.take(store, ticket_of(store, "b", "b"), "b"))
            assert.is_true(tickets.release_hold(store, "app"))
            assert.is_false(tickets.release_hold(store, "app"))
            assert.is_true(tickets.take(store, a, "app"))
        end)

        it("history finds runs by what they are", function()
            local place = stores.new(kind)
            local store = place.open()
            local elsewhere = place.root .. "-2"
            for i, one in ipairs {
                { name = "deploy", status = "done" },
                { name = "deploy", status = "failed", root = elsewhere },
                { name = "backup", status = "done" },
                { name = "deploy", status = "running" },
            } do
                local r = a_run(place, { id = ("20260801-10010%d-%s"):format(i, ("abcd"):rep(i)),
                    started_at = 1000 + i / 4, name = one.name, root = one.root })
                journal.run_start(store, r)
                if one.status ~= "running" then
                    r.status = one.status
                    journal.run_end(store, r)
                end
            end
            local function ids(filter)
                filter.limit = filter.limit or 9
                local list = {}
                for i, row in ipairs(history.list(store, filter)) do
                    list[i] = row.id:sub(15, 15)
                end
                return table.concat(list)
            end
            assert.equal("4321", ids {})
            assert.equal("43", ids { limit = 2 })
            assert.equal("421", ids { name = "deploy" })
            assert.equal("31", ids { status = "done" })
            assert.equal("1", ids { status = "done", name = "deploy" })
            assert.equal("4", ids { status = "running" })
            assert.equal("43", ids { since = 1000.75 })
            assert.equal("431", ids { root = place.root })
            assert.equal("", ids { name = "x' OR '1' = '1" })

            assert.equal("20260801-100101-abcd", history.find(store, "20260801-100101-abcd").id)
            assert.equal("20260801-100102-abcdabcd", history.find(store, "abcdabcd").id)
            assert.equal("20260801-100103-abcdabcdabcd", history.find(store, "20260801-100103").id)
            for _, id in ipairs { "nosuch", "%", "20260801_100101", "" } do
                local e = fails(id == "" and "input.ambiguous_run" or "input.unknown_run",
                    history.find, store, id)
                assert.is_nil(e.cause)
            end
            assert.equal("input.ambiguous_run", fails("input.ambiguous_run", history.find, store,
                "20260801-10010").code)
            assert.equal("20260801-100102-abcdabcd", history.interrupted(store, elsewhere).id)
        end)

        it("a run is killed when its process is gone, or its lease is over", function()
            local place = stores.new(kind)
            local store = place.open()
            local function status_of(id, columns)
                journal.run_start(store, a_run(place, { id = id }))
                rows.update(store, "@runs", columns, "id = ?", { id })
                local row = history.find(store, id)
                return row.status, row.sure
            end
            local away = { machine = "another", pid = 1, process = "1" }
            assert.same({ "running", true }, { status_of("a", { attempt = 1 }) })
            assert.same({ "killed", true }, { status_of("b", { process = "1" }) })
            assert.same({ "running", false }, { status_of("c", away) })
            away.lease = "app"
            assert.same({ "killed", true }, { status_of("d", away) })
            ticket_of(store, "app", "e")
            assert.same({ "running", true }, { status_of("e", away) })
        end)

        it("no secret enters the store, in whatever form it came", function()
            local place = stores.new(kind)
            local store = place.open()
            local sealed = secret.new("TOKEN", SECRET)
            local before = place.open()
            local r = execute(place, store, function(mine)
                run.step("A " .. SECRET, function()
                    require("dgrun.run.effect").write {
                        kind = "x.put", summary = "set " .. SECRET, target = "a/" .. SECRET,
                        once = SECRET, before = { t = "correct%20horse%20battery" },
                        after = { t = sealed },
                        apply = function() return "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5" end,
                    }
                    return { t = sealed }
                end)
                local number = tickets.draw(store, { name = "app " .. SECRET, run = mine.id,
                    reason = SECRET })
                assert.is_true(tickets.take(store, number, "app " .. SECRET))
                assert.equal("holding", tickets.list(store, "app " .. SECRET)[1].state)
                assert.is_true(tickets.hold(store, "app " .. SECRET, SECRET))
                assert.is_truthy(tickets.hold_of(store, "app " .. SECRET))
                store:kv_put("k " .. SECRET, { SECRET })
                assert.is_truthy(store:kv_get("k " .. SECRET))
                require("dgrun.core.err").raise { code = "x.y", msg = SECRET, hint = SECRET }
            end, { input = { x = SECRET }, arguments = { SECRET }, source = "-- " .. SECRET })
            assert.equal("x.y", r.error.code)
            local text = everything(before)
            assert.matches("effects.kind=x.put", text, 1, true)
            for _, form in ipairs { "correct", "battery", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5" } do
                assert.is_nil(text:find(form, 1, true))
            end
            assert.matches("$secret", text, 1, true)
            assert.is_nil(journal.run(before, r.id).arguments)
        end)

        it("a secret that looks like a word of the store's own does not disturb it", function()
            local place = stores.new(kind)
            -- In a process of its own: a secret is one until its process ends.
            local child = scripts.start(place, [[
                local journal, process = require "dgrun.run.journal", require "dgrun.core.process"
                local secret, tickets = require "host.secret", require "dgrun.run.tickets"
                local store = require("dgrun.run.store").open(...)
                local sealed = {}
                for i, word in ipairs { "2026", "done", "holding", "running",
                    process.own().process } do
                    sealed[i] = secret.new("WORD", word)
                end
                local r = { id = "20260801-100102-aaaa", name = "deploy", root = "/", input = {},
                    started_at = 1, attempt = 1, status = "running" }
                journal.run_start(store, r)
                local function draw(run)
                    return tickets.draw(store, { name = "app", run = run, reason = "none" })
                end
                assert(tickets.take(store, draw(r.id), "app"))
                tickets.supersede(store, draw "20260801-b", "app", "20260801-b")
                local row = tickets.list(store, "app")[1]
                assert(row.run == r.id and row.state == "holding" and not process.ended(row)
                    and row.superseded_by == "20260801-b")
                journal.effect_intent(store, r, { seq = 1, kind = "x.put", target = "x",
                    summary = "x" })
                r.status = "done"
                journal.run_end(store, r)
                assert(journal.run(store, r.id).status == "done")
                store:close()]], place.root)
            assert.equal(0, child.ended().status, child.text())
            assert.equal("done", journal.run(place.open(), "20260801-100102-aaaa").status)
        end)

        it("keeps text of any bytes", function()
            local place = stores.new(kind)
            local store = place.open()
            local odd = "a\0b \255\254 ü€ \xf0\x9f\x98\x80 \xed\xa0\x80 \xc0\x80 \xe2\x82 end"
            local r = execute(place, store, function()
                run.step("A", function()
                    require("dgrun.run.effect").write { kind = "x.put", target = odd, summary = odd,
                        after = { odd }, apply = function() return odd end }
                end)
                store:kv_put("k", odd)
                require("dgrun.core.err").raise { code = "x.y", msg = odd }
            end, { source = odd })
            assert.equal("x.y", r.error.code)
            store = place.open()
            assert.equal("failed", journal.run(store, r.id).status)
            local e = journal.effects(store, r.id)[1]
            assert.equal("done", e.status)
            for _, text in ipairs { e.summary, e.result, e.after[1], store:kv_get "k",
                journal.run(store, r.id).error.msg } do
                assert.matches("ü€ \xf0\x9f\x98\x80", text, 1, true)
                assert.equal("end", text:sub(-3))
            end
        end)

        it("one of a newer dgrun is refused", function()
            local place = stores.new(kind)
            write_newer_version(place)
            for _, read_only in ipairs { false, true } do
                local e = fails("store.newer", place.open, { read_only = read_only })
                assert.matches("its schema is 99", e.msg, 1, true)
                assert.is_truthy(e.hint)
            end
        end)

        it("one of the first version is brought up to date, with what is in it", function()
            local place = stores.new(kind)
            write_first_version(place)
            assert.same({}, history.list(place.open { read_only = true }, { limit = 9 }))
            for _ = 1, 2 do
                local store = place.open()
                local row = history.find(store, "old1")
                assert.same({ "done", 1, 4711, 1735689600.5, { ref = "v1" } },
                    { row.status, row.attempt, row.pid, row.started, row.input })
                assert.same({ image = "a:2" }, journal.steps(store, row.id)[1].result)
                assert.equal("r", journal.effects(store, row.id)[1].result)
                assert.same({ n = 1 }, store:kv_get "a")
                assert.is_true(tickets.take(store, ticket_of(store, "app", "a"), "app"))
            end
        end)

        it("many that open an empty one at once all succeed", function()
            local place = stores.new(kind)
            local text = ([[
                print "ready"
                while not require("host.fs").exists "go" do
                    require("dgrun.core.task").sleep(0.001)
                end
                local store = require("dgrun.run.store").open(%q)
                print("kept " .. store:kv_add("a", (...)))
                store:close()]]):format(place.root)
            local children = {}
            for i = 1, 4 do
                children[i] = scripts.start(place, text, "p" .. i)
            end
            for _, child in ipairs(children) do
                child.said "ready"
            end
            assert(fs.write(place.root / "go", ""))
            local opened, tasks = nil, {}
            for i = 1, 4 do
                tasks[i] = function()
                    local store = place.open()
                    opened = store:kv_add("a", "t" .. i)
                    return opened
                end
            end
            for _, kept in ipairs(task.all(tasks)) do
                assert.equal(opened, kept)
            end
            for _, child in ipairs(children) do
                assert.equal(0, child.ended().status, child.text())
                child.said("kept " .. opened)
            end
        end)
    end)
end

describe("a store in", function()
    setup(function() stores.start(true) end)
    teardown(function() stores.stop() end)
    for _, kind in ipairs(stores.kinds) do
        suite(kind)
    end
end)
