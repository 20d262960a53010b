local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local project = require "support.project"
local run = require "dgrun.run"
local secret = require "host.secret"
local sqlite = require "host.sqlite"
local store = require "dgrun.run.store"
local task = require "dgrun.core.task"

local function execute(root, fn, opts)
    opts = opts or {}
    opts.name, opts.root = "test", root
    local r = run.execute(opts, fn)
    return r
end

local function rows(root, sql)
    local s = store.open(root, { read_only = true })
    local found = s:query(sql)
    s:close()
    return found
end

local function write(over)
    local e = { kind = "x.put", target = "x", summary = "put x", apply = function() return "r" end }
    for key, value in pairs(over or {}) do
        e[key] = value
    end
    return effect.write(e)
end

describe("the journal", function()
    it("holds the run, its steps and its effects", function()
        local root = project.make { x = "" }
        local r = execute(root, function()
            run.step("Deploy", function()
                write { before = { n = 1 }, after = { n = 2 } }
                return { image = "a:2" }
            end)
        end, { input = { ref = "v1" }, sandbox = true })
        assert.is_nil(r.error)
        local one = rows(root, "SELECT * FROM runs")[1]
        assert.equal(r.id, one.id)
        assert.equal("done", one.status)
        assert.equal('{"ref":"v1"}', one.input)
        assert.equal(1, one.sandbox)
        local step = rows(root, "SELECT * FROM steps")[1]
        assert.equal("Deploy", step.name)
        assert.equal('{"image":"a:2"}', step.result)
        local e = rows(root, "SELECT * FROM effects")[1]
        assert.equal('{"n":1} {"n":2} "r" done', table.concat({
            e.before, e.after, e.result, e.status }, " "))
        assert.is_true(e.finished >= e.started)
    end)

    it("has an effect's intent before it is applied, and the outcome of one that fails", function()
        local root = project.make { x = "" }
        local seen
        execute(root, function()
            run.step("A", function()
                write { apply = function()
                    seen = rows(root, "SELECT status, finished FROM effects")[1]
                    err.raise { code = "fly.server", msg = "500" }
                end }
            end)
        end)
        assert.same({ status = "intent" }, seen)
        assert.equal("failed", rows(root, "SELECT status FROM effects")[1].status)
        assert.equal("failed", rows(root, "SELECT status FROM steps")[1].status)
        local one = rows(root, "SELECT status, error FROM runs")[1]
        assert.equal("failed", one.status)
        assert.matches('"code":"fly.server"', one.error)
    end)

    it("records the end of a cancelled run", function()
        local root = project.make { x = "" }
        local status
        local child = task.spawn(function()
            status = execute(root, function()
                run.step("Wait", function() task.sleep(60) end)
            end).status
        end)
        while #(fs.exists(root / ".dgrun/state.db") and rows(root, [[SELECT name FROM sqlite_master
                WHERE name = 'steps']]) or {}) == 0 or #rows(root, "SELECT 1 FROM steps") == 0 do
            task.sleep(0.001)
        end
        child.cancel()
        child.join()
        assert.equal("cancelled", status)
        assert.equal("cancelled", rows(root, "SELECT status FROM runs")[1].status)
        assert.equal("cancelled", rows(root, "SELECT status FROM steps")[1].status)
    end)

    it("holds no secret, in whatever form it came", function()
        local root = project.make { x = "" }
        local sealed = secret.new("TOKEN", "correct horse battery")
        execute(root, function()
            run.step("A", function()
                write {
                    summary = "set correct horse battery", target = "a/correct horse battery",
                    before = { t = "correct%20horse%20battery" }, after = { t = sealed },
                    apply = function() return "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5" end,
                }
                return { t = sealed }
            end)
            store.kv_put("k", "correct horse battery")
            err.raise { code = "x.y", msg = "correct horse battery" }
        end, { input = { x = "correct horse battery" } })
        local bytes = assert(fs.read(root / ".dgrun/state.db"))
        assert.is_nil(bytes:find("correct", 1, true))
        assert.is_nil(bytes:find("Y29ycmVjdCBob3JzZSBiYXR0ZXJ5", 1, true))
        assert.matches("%$secret", rows(root, "SELECT result FROM steps")[1].result)
    end)

    it("is not made by a script without steps and effects", function()
        local root = project.make { x = "" }
        execute(root, function() end)
        assert.is_false(fs.exists(root / ".dgrun"))
    end)

    it("is shared by tasks that use it at once", function()
        local root = project.make { x = "" }
        local r = execute(root, function()
            local steps = {}
            for i = 1, 8 do
                steps[i] = function()
                    run.step("S" .. i, function() write() end)
                end
            end
            task.all(steps)
        end)
        assert.is_nil(r.error)
        assert.equal(8, rows(root, "SELECT count(*) AS n FROM effects WHERE status = 'done'")[1].n)
    end)
end)

describe("the store", function()
    it("is private", function()
        local root = project.make { x = "" }
        store.open(root):close()
        assert.equal(tonumber("700", 8), fs.stat(root / ".dgrun").mode)
        assert.equal(tonumber("600", 8), fs.stat(root / ".dgrun/state.db").mode)
    end)

    it("keeps values between runs", function()
        local root = project.make { x = "" }
        execute(root, function() store.kv_put("a", { n = 1 }) end)
        execute(root, function()
            assert.same({ n = 1 }, store.kv_get("a"))
            assert.is_nil(store.kv_get("b"))
            store.kv_put("a", "two")
        end)
        execute(root, function() assert.equal("two", store.kv_get("a")) end)
    end)

    it("is read but not written, nor made, by a plan", function()
        local root = project.make { x = "" }
        local r = execute(root, function()
            assert.is_nil(store.kv_get("a"))
            store.kv_put("a", 1)
            run.step("A", function() write() end)
        end, { plan = true })
        assert.is_nil(r.error)
        assert.is_false(fs.exists(root / ".dgrun"))
        execute(root, function() store.kv_put("a", 1) end)
        local before = assert(fs.read(root / ".dgrun/state.db"))
        local names = fs.list(root / ".dgrun")
        execute(root, function()
            assert.equal(1, store.kv_get("a"))
            store.kv_put("a", 2)
        end, { plan = true })
        assert.same(names, fs.list(root / ".dgrun"))
        assert.equal(before, fs.read(root / ".dgrun/state.db"))
    end)

    it("refuses a file of a newer dgrun", function()
        local root = project.make { x = "" }
        store.open(root):close()
        local db = assert(sqlite.open(root / ".dgrun/state.db", {}))
        assert(db:exec("PRAGMA user_version = 99", {}))
        db:close()
        for _, opts in ipairs { {}, { read_only = true } } do
            local ok, e = pcall(store.open, root, opts)
            assert.is_false(ok)
            assert.equal("store.newer", e.code)
            assert.matches("its schema is 99", e.msg)
        end
    end)
end)
