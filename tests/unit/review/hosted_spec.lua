-- Databases of review apps that somebody hosts: branches over an API such as Neon's.
local dg = require "dgrun"
local effect = require "dgrun.run.effect"
local json = require "dgrun.core.json"
local run = require "dgrun.run"
local secret = require "host.secret"
local server_of = require "host.server"
local task = require "dgrun.core.task"

---A small hosted PostgreSQL: branches by name, each with a URL. `api.lose` names a method whose
---next answer does not arrive.
local function serving(body)
    local s = assert(server_of.listen {})
    local api = { branches = {}, calls = {}, url = ("http://127.0.0.1:%d"):format(s:port()) }
    local count = 0
    local routes = {}
    routes["GET /branches"] = function(request)
        local found = json.array {}
        for _, branch in pairs(api.branches) do
            if branch.name:find(request.query.search, 1, true) then
                found[#found + 1] = branch
            end
        end
        return 200, { branches = found }
    end
    routes["POST /branches"] = function(request)
        count = count + 1
        local branch = { id = "br-" .. count, name = json.decode(request.body).branch.name }
        api.branches[branch.id] = branch
        return 201, { branch = branch }
    end
    routes["GET /connection_uri"] = function(request)
        return 200, { uri = ("postgresql://app:pw-%s@db.example.com/app"):format(
            request.query.branch_id) }
    end
    local function handle(request)
        local id = request.path:match("^/branches/(.+)$")
        local status, answer = 404, {}
        if request.headers.authorization ~= "Bearer key-1" then
            status = 401
        elseif request.method == "DELETE" and id and api.branches[id] then
            api.branches[id], status = nil, 200
        elseif routes[request.method .. " " .. request.path] then
            status, answer = routes[request.method .. " " .. request.path](request)
        end
        table.insert(api.calls, request.method .. " " .. request.path)
        if api.lose == request.method then
            api.lose = nil
            return request:abort()
        end
        request:reply { status = status, body = json.encode(answer) }
    end
    task.scope(function()
        local acceptor = task.spawn(function()
            for request in function() return (s:accept()) end do
                handle(request)
            end
        end)
        local ok, e = pcall(body, api)
        s:close()
        acceptor.cancel()
        if not ok then
            error(e, 0)
        end
    end)
end

---As the reference of dg.review.hosted shows it.
local function branches(api)
    local key = secret.new("NEON_API_KEY", "key-1")
    local function call(method, path, body)
        local answer = dg.http.request { method = method, url = api.url .. path, json = body,
            headers = { Authorization = "Bearer " .. key } }
        if answer.status >= 300 then
            error(("%s %s: %d"):format(method, path, answer.status))
        end
        return dg.json.decode(answer.body)
    end
    local function find(name)
        for _, branch in ipairs(call("GET", "/branches?search=" .. name).branches) do
            if branch.name == name then
                return branch
            end
        end
    end
    local function url_of(branch)
        return call("GET", "/connection_uri?database_name=app&role_name=app&branch_id="
            .. branch.id).uri
    end
    return dg.review.hosted {
        what = "branch",
        find = function(name)
            local branch = find(name)
            return branch and url_of(branch)
        end,
        create = function(name)
            return url_of(call("POST", "/branches", { branch = { name = name },
                endpoints = { { type = "read_write" } } }).branch)
        end,
        drop = function(name) call("DELETE", "/branches/" .. find(name).id) end,
    }
end

local function done(f, plan)
    local value
    local record = run.execute({ name = "test", root = "/tmp", journal = false,
        plan = plan or false }, function() value = f() end)
    assert.equal("done", record.status, tostring(record.error))
    local summaries = {}
    for i, one in ipairs(record.effects) do
        summaries[i] = one.summary
    end
    return value, summaries
end

local function count(t)
    local n = 0
    for _ in pairs(t) do
        n = n + 1
    end
    return n
end

describe("a hosted database", function()
    it("comes once and goes once, and is planned", function()
        serving(function(api)
            local one = branches(api)("app-pr-12")
            local unknown, would = done(one.create, true)
            assert.is_true(effect.is_unknown(unknown))
            assert.same({ "create branch app-pr-12" }, would)
            assert.same({}, api.branches)

            local url, did = done(one.create)
            assert.same(would, did)
            assert.is_true(secret.is(url))
            assert.equal(secret.new("x", "postgresql://app:pw-br-1@db.example.com/app"), url)
            local again, nothing = done(one.create)
            assert.equal(url, again)
            assert.same({}, nothing)
            assert.equal(url, done(one.create, true))

            assert.same({ "drop branch app-pr-12" }, select(2, done(one.drop, true)))
            assert.equal(1, count(api.branches))
            assert.same({ "drop branch app-pr-12" }, select(2, done(one.drop)))
            assert.same({}, api.branches)
            assert.same({}, select(2, done(one.drop)))
        end)
    end)

    it("comes once and goes once when an answer is lost", function()
        serving(function(api)
            local one = branches(api)("app-pr-12")
            api.lose = "POST"
            local url = done(one.create)
            assert.equal(secret.new("x", "postgresql://app:pw-br-1@db.example.com/app"), url)
            assert.equal(1, count(api.branches))
            api.lose = "DELETE"
            done(one.drop)
            assert.same({}, api.branches)
        end)
    end)

    it("that cannot be had fails as what it is", function()
        local failing = dg.review.hosted {
            what = "branch", find = function() return nil end, drop = print,
            create = function() error("no more branches", 0) end,
        } ("app-pr-12")
        local record = run.execute({ name = "test", root = "/tmp", journal = false },
            failing.create)
        assert.equal("failed", record.status)
        assert.matches("no more branches", record.error.msg)
        local wrong = dg.review.hosted {
            what = "branch", find = function() return "" end, create = print, drop = print,
        } ("app-pr-12")
        assert.equal("input.invalid", select(2, pcall(wrong.create)).code)
        assert.is_false((pcall(dg.review.hosted, { what = "x" })))
    end)
end)

describe("a SQLite file of a review app", function()
    it("comes with its first table, and goes with all that is beside it", function()
        local fs = require "host.fs"
        local dir = assert(fs.temp_dir "reviews")
        task.defer(function() fs.remove(dir, { recursive = true }) end)
        local databases = dg.review.databases { server = "sqlite+aiosqlite:///" .. dir }
        local one = databases("app-pr-12")
        assert.equal("sqlite+aiosqlite:///" .. dir .. "/app-pr-12.db", (done(one.create)))
        assert.same({}, select(2, done(one.drop)))
        for _, ending in ipairs { ".db", ".db-wal", ".db-shm" } do
            assert(fs.write(dir / "app-pr-12" .. ending, "x"))
        end
        assert(fs.write(dir / "app-pr-1.db", "x"))
        assert.same({ "remove the database of app-pr-12" }, select(2, done(one.drop, true)))
        assert.same({ "remove the database of app-pr-12" }, select(2, done(one.drop)))
        assert.same({ "app-pr-1.db" }, fs.list(dir))
        assert.is_false((pcall(dg.review.sqlite, { server = "sqlite:///relative" })))
        assert.is_false((pcall(dg.review.databases, { server = "mysql://x/y" })))
    end)
end)
