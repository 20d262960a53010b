-- Many processes that want one group at once, some of them killed while they have it. What really
-- happened is told by the local Fly's own log.
local fs = require "host.fs"
local matrix = require "support.matrix"
local pipelines = require "support.pipelines"
local postgres = require "support.postgres"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local COUNT = matrix.pick(6, 20)
---Those that are killed once they change something.
local killed = matrix.pick({ [2] = true, [5] = true },
    { [3] = true, [7] = true, [8] = true, [13] = true, [20] = true })

local function await(what, f)
    local ok = pcall(task.timeout, 120, function()
        while not f() do
            task.sleep(0.01)
        end
    end)
    assert(ok, "never: " .. what)
end

---A client that is read to its end: `lines` grows; `ticket` and `run` are known once it queues.
local function follow(field, argv, settings, env, prefix, on_line)
    local client = field:spawn(argv, settings, env, prefix)
    local self = { client = client, lines = {} }
    task.spawn(function()
        for line in function() return client:read() end do
            self.lines[#self.lines + 1] = line.line
            local ticket, run = line.line:match("^TICKET (%d+) (%S+)")
            if ticket then
                self.ticket, self.run = tonumber(ticket), run
            end
            if on_line then
                on_line(self, line.line)
            end
        end
        self.exit = client:wait()
    end)
    return self
end

local function text_of(client)
    return ("%s\nexit %s, signal %s"):format(table.concat(client.lines, "\n"),
        tostring(client.exit.status), tostring(client.exit.signal))
end

---Writes of the log, in blocks of one client each. A client's first calls may go by two sessions.
local function assert_one_at_a_time(field)
    local _, log = field:call("GET", "/sandbox/v1/requests")
    local over, last = {}, nil
    for _, request in ipairs(log.requests) do
        local writes = request.method ~= "GET" and request.method ~= "HEAD"
            and not request.path:find("^/sandbox/") and request.path ~= "/graphql"
        if writes and request.session ~= last then
            assert(not over[request.session or "?"], "two clients made changes at the same time")
            if last then
                over[last] = true
            end
            last = request.session
        end
    end
end

---The runs that made a release, in the order in which they did.
local function release_order(field, app)
    local _, answer = field:call("POST", "/graphql", { query = ([[{ app(name: "%s") {
        releasesUnprocessed(first: 100) { nodes { version status configDefinition } } } }]])
        :format(app) })
    local nodes = answer.data.app.releasesUnprocessed.nodes
    table.sort(nodes, function(a, b) return a.version < b.version end)
    local runs = {}
    for _, node in ipairs(nodes) do
        runs[#runs + 1] = node.configDefinition.dgrun.run
    end
    return runs
end

local function register(field, app, label)
    assert(field:call("POST", "/sandbox/v1/images",
        { ref = ("registry.fly.io/%s:%s"):format(app, label) }) == 201)
end

local function argv_of(name, app, i)
    return { name, "--ref", "v1.2.0", "--image", ("registry.fly.io/%s:n%d"):format(app, i) }
end

local function wait_for_turns(field, place)
    local app, clients = "draft-app-prod", {}
    for i = 1, COUNT do
        register(field, app, "n" .. i)
    end
    task.scope(function()
        for i = 1, COUNT do
            clients[i] = follow(field, argv_of("prod_deploy", app, i), place.settings,
                place.env, place.prefix(i), killed[i] and function(self, line)
                    if not self.killed and line:find("~ update machine", 1, true) then
                        self.killed = true
                        self.client:kill "KILL"
                        -- The machine leases that it held run out.
                        field:pass_time(15)
                    end
                end)
        end
    end)
    local by_ticket = {}
    for i, client in ipairs(clients) do
        if killed[i] then
            assert(client.killed, "not killed:\n" .. text_of(client))
        else
            assert(client.exit.status == 0, text_of(client))
        end
        by_ticket[i] = client
    end
    table.sort(by_ticket, function(a, b) return a.ticket < b.ticket end)
    assert_one_at_a_time(field)
    local order = release_order(field, app)
    table.remove(order, 1) -- of the template
    assert(#order == COUNT, "not everybody had a turn")
    for i, client in ipairs(by_ticket) do
        assert(order[i] == client.run, "not in the order of the tickets")
    end
end

---The first one is in the middle of a change while all the others come.
local function newest_wins(field, place)
    local app, clients = "draft-app", {}
    for i = 1, COUNT do
        register(field, app, "n" .. i)
    end
    task.scope(function()
        local function start(i)
            clients[i] = follow(field, argv_of("stage_deploy", app, i), place.settings, place.env,
                place.prefix(i))
        end
        field.gate = "/machines/%x+$"
        start(1)
        await("the first one changes a machine", function()
            return table.concat(clients[1].lines, "\n"):find("~ update machine", 1, true)
        end)
        for i = 2, COUNT do
            start(i)
        end
        await("all have a ticket", function()
            for _, client in ipairs(clients) do
                if not client.ticket then
                    return false
                end
            end
            return true
        end)
        field.gate = nil
    end)
    local newest = clients[1]
    for _, client in ipairs(clients) do
        newest = client.ticket > newest.ticket and client or newest
    end
    for _, client in ipairs(clients) do
        assert(client.exit.status == (client == newest and 0 or 5), text_of(client))
        if client ~= newest and client ~= clients[1] then
            assert(not table.concat(client.lines, "\n"):find("Checkout", 1, true),
                "an intermediate one began:\n" .. text_of(client))
        end
    end
    assert_one_at_a_time(field)
    local order = release_order(field, app)
    table.remove(order, 1)
    -- The newest makes one release of the image, and one of the secrets.
    assert.same({ clients[1].run, newest.run, newest.run }, order)
    assert(pipelines.state(field, app):find("app started draft-app:n", 1, true))
end

local settings = { heartbeat = 0.1, poll = 0.05 }

local places = {
    { name = "in SQLite", open = function(body)
        body { settings = settings, prefix = function() end }
    end },
    { name = "in PostgreSQL", in_full = true, open = function(body)
        body { settings = settings, prefix = function() end,
            env = { DGRUN_STORE = postgres.start().url } }
    end },
    { name = "in PostgreSQL, from several hosts", hosts = true, open = function(body, field)
        local server = postgres.start()
        local ports = ("%d=%s,%d=%s"):format(server.port, field.base / "store.sock",
            field.fly.port, field.base / "fly.sock")
        local forward = assert(proc.spawn { argv = { "python3", "tests/support/forward.py",
            "unix", ports } })
        task.defer(function() forward:stop() end)
        assert(forward:read().line == "ready")
        body {
            -- Nobody sees from one host that a process on another has ended.
            settings = { heartbeat = 0.2, poll = 0.1, ttl = 3 },
            env = { DGRUN_STORE = server.url },
            prefix = function(i)
                return { fs.cwd() / "tests/support/other_host.sh", "host-" .. i % 2, ports }
            end,
        }
    end },
}

local function has_namespaces()
    local result = proc.run { argv = { "unshare", "--net", "--uts", "--pid", "--fork",
        "--mount-proc", "true" } }
    return result and result.status == 0
end

teardown(pipelines.forget_templates)

for _, place in ipairs(places) do
    local declare = place.in_full and matrix.full_it or it
    for name, scenario in pairs {
        ["take turns in order, also when holders are killed"] = wait_for_turns,
        ["are superseded by the newest"] = newest_wins,
    } do
        declare(("%d processes %s, with leases %s"):format(COUNT, name, place.name), function()
            if place.hosts and not has_namespaces() then
                pending "this system lets nobody make network namespaces (unshare --net --pid)"
            end
            local field = pipelines.field(pipelines.templates().old)
            task.scope(function()
                place.open(function(opened) scenario(field, opened) end, field)
            end)
        end)
    end
end
