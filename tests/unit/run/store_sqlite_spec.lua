-- A store in a file: what is on the disk, and when.
local fs = require "host.fs"
local project = require "support.project"
local scripts = require "support.scripts"
local sqlite = require "host.sqlite"
local store_of = require "dgrun.run.store"
local task = require "dgrun.core.task"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local ROUNDS = 30

-- Each number is printed after its write has returned.
local writer = [[
local journal = require "dgrun.run.journal"
local root, first = ...
local store = require("dgrun.run.store").open(root)
local r = { id = "r" .. first, name = "kill", root = root, input = {}, started_at = 1, attempt = 1,
    status = "running" }
journal.run_start(store, r)
local number = tonumber(first)
while true do
    journal.effect_intent(store, r, { seq = number, kind = "x.put", summary = "put x",
        target = ("x"):rep(number % 900) })
    print("begun " .. number)
    journal.effect_end(store, r, { seq = number, status = "done" })
    print("ended " .. number)
    require("host.log").flush()
    number = number + 1
end
]]

---@return string[] # what is not as it should be
local function faults(db, said)
    local list = {}
    for _, row in ipairs(assert(db:query "PRAGMA integrity_check")) do
        if row.integrity_check ~= "ok" then
            list[#list + 1] = row.integrity_check
        end
    end
    local status = {}
    for _, row in ipairs(assert(db:query "SELECT seq, status FROM effects")) do
        status[row.seq] = row.status
    end
    for number, what in pairs(said) do
        if not status[number] or what == "ended" and status[number] ~= "done" then
            list[#list + 1] = ("%d was %s, but is %s"):format(number, what,
                status[number] or "not there")
        end
    end
    return list
end

local function mode(path)
    return ("%o"):format(assert(fs.stat(path)).mode)
end

describe("a store in a file", function()
    it(("has all that was written when its process is killed, %d times"):format(ROUNDS), function()
        local root = project.make { ["scripts/none.lua"] = "" }
        local place = { root = root, env = { DGRUN_STORE = false } }
        local said, count, cut = {}, 0, 0
        for round = 1, ROUNDS do
            local child = scripts.start(place, writer, root, tostring(round * 1000000))
            child.said "begun"
            task.sleep(math.random() * 0.1)
            child.kill "SIGKILL"
            assert.equal(9, child.ended().signal)
            for _, line in ipairs(child.lines) do
                local what, number = line:match("^(%l+) (%d+)$")
                if what then
                    said[tonumber(number)], count = what, count + 1
                end
            end
            cut = cut + (fs.exists(root / ".dgrun/state.db-wal") and 1 or 0)
            local db = assert(sqlite.open(root / ".dgrun/state.db"))
            assert.same({}, faults(db, said))
            db:close()
        end
        assert.is_true(count > ROUNDS * 2)
        -- The log of a process that was killed stays: it is what all this is about.
        assert.equal(ROUNDS, cut)
    end)

    it("survives a kill while it is made", function()
        for _ = 1, ROUNDS do
            local root = project.make { ["scripts/none.lua"] = "" }
            local child = scripts.start({ root = root, env = { DGRUN_STORE = false } }, [[
                print "begins"
                require("host.log").flush()
                require("dgrun.run.store").open(...):kv_put("a", 1)
                print "ended"
                require("host.log").flush()
                require("dgrun.core.task").sleep(60)]], root)
            child.said "begins"
            task.sleep(math.random() * 0.01)
            child.kill "SIGKILL"
            child.ended()
            local reader = store_of.open(root, { read_only = true })
            local kept = reader:kv_get "a"
            reader:close()
            assert.is_true(kept == 1 or not child.text():find("ended", 1, true))
            local store = store_of.open(root)
            assert.equal(kept or 2, store:kv_add("a", 2))
            store:close()
        end
    end)

    it("keeps its locks whatever else this process opens", function()
        local root = project.make { ["scripts/none.lua"] = "" }
        local store = store_of.open(root)
        store:kv_put("a", 1)
        store_of.open(root):close()
        local reader = store_of.open(root, { read_only = true })
        assert.equal(1, reader:kv_get "a")
        reader:close()
        -- Who believes to be the last one removes the log when it goes.
        local child = scripts.start({ root = root, env = { DGRUN_STORE = false } }, [[
            local store = require("dgrun.run.store").open(...)
            store:kv_put("a", 2)
            store:close()]], root)
        assert.equal(0, child.ended().status, child.text())
        assert.is_true(fs.exists(root / ".dgrun/state.db-wal"))
        assert.equal(2, store:kv_get "a")
        store:kv_put("a", 3)
        store:close()
        store = store_of.open(root)
        assert.equal(3, store:kv_get "a")
        store:close()
    end)

    it("is private, with all that is beside it", function()
        local root = project.make { ["scripts/none.lua"] = "" }
        local child = scripts.start({ root = root, env = { DGRUN_STORE = false } },
            writer, root, "1")
        child.said "ended 20"
        assert.equal("700", mode(root / ".dgrun"))
        for _, ending in ipairs { "", "-wal", "-shm" } do
            assert.equal("600", mode(root / ".dgrun/state.db" .. ending))
        end
        child.kill "SIGKILL"
        child.ended()
        -- Those that were left behind, and those that the next one makes.
        local store = store_of.open(root)
        store:kv_put("a", 1)
        for _, ending in ipairs { "", "-wal", "-shm" } do
            assert.equal("600", mode(root / ".dgrun/state.db" .. ending))
        end
        store:close()
        store = store_of.open(root)
        store:kv_put("a", 2)
        for _, ending in ipairs { "", "-wal", "-shm" } do
            assert.equal("600", mode(root / ".dgrun/state.db" .. ending))
        end
        store:close()
    end)
end)
