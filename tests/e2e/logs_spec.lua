-- dgrun logs as people use it, against a local Fly in another process.
local json = require "dgrun.core.json"
local local_fly = require "support.local_fly"
local log_soak = require "support.log_soak"
local proc = require "host.proc"

local image = "registry.fly.io/web:a"

local function numbered(count, text)
    local lines = {}
    for i = 1, count do
        lines[i] = (text or "line %d"):format(i)
    end
    return lines
end

---A machine in each of two apps that wrote so many lines.
local function two_apps(count)
    local fly = local_fly.start()
    fly:register(image, { log = numbered(count) })
    fly:register("registry.fly.io/web-stage:a", { log = numbered(count, "stage %d") })
    local prod = fly:web("web", image, { name = "first" })
    fly:wait("web", prod.id, "started")
    local stage = fly:web("web-stage", "registry.fly.io/web-stage:a")
    fly:wait("web-stage", stage.id, "started")
    return fly, prod.id, stage.id
end

local function entries(result)
    assert.equal(0, result.status, result.all)
    local list = {}
    for line in result.stdout:gmatch "[^\n]+" do
        list[#list + 1] = json.decode(line)
    end
    return list
end

local function messages(result)
    local list = {}
    for i, entry in ipairs(entries(result)) do
        list[i] = entry.message
    end
    return list
end

---Reads what a child says until `f` is true of a line.
local function until_said(child, f)
    while true do
        local item = assert(child:read(), "it ended")
        if f(item.line, item.stream) then
            return item.line
        end
    end
end

local function rest_of(child)
    local lines = {}
    for item in function() return child:read() end do
        lines[#lines + 1] = item.line
    end
    local exit = child:wait()
    return exit.signal and 128 + exit.signal or exit.status, lines
end

describe("dgrun logs", function()
    it("prints the last lines of an app, a machine, a region, a time, with a text", function()
        local fly, id = two_apps(130)
        local all = entries(fly:run { "logs", "prod", "--json" })
        assert.equal(100, #all)
        assert.same({ app = "web", instance = id, region = "ewr", level = "info",
            provider = "app", message = "line 130", timestamp = all[100].timestamp }, all[100])
        for _, words in ipairs { { "--instance", id }, { "-i", id:sub(1, 6) }, { "-i", "first" },
            { "--region", "ewr" }, { "--since", "1h" }, { "--grep", "line" }, {} } do
            local argv = { "logs", "prod", "--json", "-n", "3", unpack(words) }
            assert.same({ "line 128", "line 129", "line 130" }, messages(fly:run(argv)))
        end
        assert.same({ "line 99" }, messages(fly:run { "logs", "--app", "web", "--json", "--grep",
            "ne 99" }))
        assert.equal(130, #messages(fly:run { "logs", "web", "--json", "--since", "1h" }))
        assert.same({}, messages(fly:run { "logs", "prod", "--json", "--region", "ams" }))
        fly:call("POST", "/sandbox/v1/clock", { advance = 3600 })
        assert.same({}, messages(fly:run { "logs", "web", "--json", "--since", "30m" }))
        local line = fly:run({ "logs", "prod", "-n", "1" }).stdout
        assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+Z app%[" .. id .. "%] ewr %[info%] line 130\n$",
            line)
    end)

    it("prints both environments in the order of time, each named", function()
        local fly, prod, stage = two_apps(2)
        local lines = {}
        for name, text in fly:run({ "logs" }).stdout:gmatch "(%w+) +[^\n]*%] ([^\n]+)" do
            lines[#lines + 1] = name .. " " .. text
        end
        assert.same({ "prod line 1", "prod line 2", "stage stage 1", "stage stage 2" }, lines)
        assert.same({ "line 2", "stage 1", "stage 2" },
            messages(fly:run { "logs", "stage", "prod", "--json", "-n", "3" }))
        assert.same({ "stage 2" }, messages(fly:run { "logs", "--json", "-n", "1", "-i",
            stage:sub(1, 8) }))
        local coloured = assert(proc.run { cwd = fly.dir, clean_env = true, env = fly.env, argv = {
            "script", "-qec", ("'%s' logs -n 4"):format(local_fly.binary), "/dev/null" } }).stdout
        assert.matches("\27%[36mprod \27%[0m  \27%[2m", coloured)
        assert.matches("\27%[35mstage\27%[0m  \27%[2m", coloured)
        assert.is_string(prod)
    end)

    it("says which machine it does not know", function()
        local fly = two_apps(1)
        local result = fly:run { "logs", "prod", "-i", "frist" }
        assert.equal(1, result.status)
        assert.equal("dgrun: web has no machine 'frist'\n  Did you mean 'first'?\n",
            result.stderr)
        result = fly:run { "logs", "-i", "ffffffffffffff" }
        assert.same({ 0, "", "" }, { result.status, result.stdout, result.stderr })
        result = fly:run { "logs", "--app", "nosuch" }
        assert.equal(1, result.status)
        assert.matches("Fly has no app named 'nosuch'", result.stderr)
        for _, words in ipairs { { "--since", "soon" }, { "-n", "-1" }, { "-n", "x" } } do
            result = fly:run { "logs", unpack(words) }
            assert.equal(2, result.status, result.all)
        end
    end)

    it("follows several apps, and ends with 130 at Ctrl-C without a word", function()
        local fly = two_apps(3)
        local child = fly:spawn { "logs", "--follow", "--json", "-n", "1" }
        until_said(child, function(line) return json.decode(line).message == "stage 3" end)
        local again = {}
        for _, app in ipairs { "web", "web-stage" } do
            again[app] = fly:web(app, ("registry.fly.io/%s:a"):format(app)).id
        end
        local seen = {}
        until_said(child, function(line)
            local entry = json.decode(line)
            assert.equal(again[entry.app], entry.instance)
            seen[entry.app] = (seen[entry.app] or 0) + 1
            return seen.web == 3 and seen["web-stage"] == 3
        end)
        child:kill "SIGINT"
        local status, lines = rest_of(child)
        assert.equal(130, status)
        assert.same({}, lines)
    end)

    it("ends quietly when nobody reads any more, though nothing more is written", function()
        local fly = two_apps(5)
        local run = assert(proc.run { cwd = fly.dir, clean_env = true, env = fly.env, timeout = 30,
            argv = { "sh", "-c", '{ "$0" logs prod --follow; echo "status $?" >&2; } | head -n 1',
                local_fly.binary } })
        assert.matches("line 1\n$", run.stdout)
        assert.equal("status 0\n", run.stderr)
    end)

    it("tells once that a log cannot be read, and gives up after a while", function()
        local fly = two_apps(1)
        local child = fly:spawn { "logs", "prod", "--follow", "--json" }
        until_said(child, function(line) return line:find "line 1" end)
        fly:fault { path = "/logs$", times = 7, reset = true }
        assert.matches("^prod: cannot read the log, retrying: ",
            until_said(child, function(_, stream) return stream == "stderr" end))
        assert.equal("prod: reading the log again",
            until_said(child, function(_, stream) return stream == "stderr" end))
        fly:fault { path = "/logs$", times = 1, status = 403 }
        local status, lines = rest_of(child)
        assert.equal(1, status)
        assert.matches("^dgrun: .*403", lines[1])
        assert.matches("may not read logs", lines[2])
    end)

    it("loses, repeats and disorders nothing of 5,000 lines a second, whatever fails", function()
        local faults = { { rate = 0.1, seed = 3 } }
        for i, what in ipairs { { reset = true }, { reset = true, when = "after" },
            { cut = true, when = "after" }, { invalid = true, when = "after" }, { status = 503 },
            { status = 429, retry_after = 1 }, { status = 500, times = 7 } } do
            what.after = i * 4
            faults[#faults + 1] = what
        end
        local result = log_soak.run { per_second = 5000, lines = 25000, machines = 5,
            faults = faults }
        assert.same({ 25000, 0, 0, 0, 130 }, { result.lines, result.lost, result.repeated,
            result.disordered, result.status })
        assert.matches("cannot read the log", table.concat(result.said, "\n"))
        -- What it would keep of 17,500 lines is more than this.
        local memory = result.memory_kb
        assert.is_true(memory[#memory] - memory[3] < 4096, table.concat(memory, " "))
    end)
end)
