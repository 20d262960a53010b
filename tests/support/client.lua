-- dgrun as a client of a local Fly that lives in another process, for tests that kill it: this
-- script is run by a dgrun of its own. DGRUN_TEST_CLIENT holds its settings as JSON:
-- url, token, pace; die = {where = "answer"|"journal"|"spawn", at = n, signal = number} is sent to
-- it at the n-th such point; count: it tells how many of them there were; ttl, heartbeat, poll of
-- leases.
local ffi = require "ffi"

local journal = require "dgrun.run.journal"
local json = require "dgrun.core.json"
local retry = require "dgrun.fly.retry"

ffi.cdef [[ int kill(int pid, int signal); int getpid(void); ]]

local settings = json.decode(os.getenv "DGRUN_TEST_CLIENT")
local die = settings.die or {}
local passed = { answer = 0, journal = 0, spawn = 0 }

local function point(where)
    passed[where] = passed[where] + 1
    if where == die.where then
        if passed[where] == die.at then
            io.stdout:write("AT THE POINT\n")
            io.stdout:flush()
            ffi.C.kill(ffi.C.getpid(), die.signal)
        end
    end
end

-- Each call of Fly's APIs, once its answer is there.
local send = retry.send
function retry.send(call)
    local try = call.send
    call.send = function()
        local answer, e = try()
        point "answer"
        return answer, e
    end
    return send(call)
end

-- Each write of the journal, before it and after it.
for _, name in ipairs { "run_start", "run_note", "run_end", "step_start", "step_end",
    "effect_intent", "effect_end", "claim" } do
    local write = journal[name]
    journal[name] = function(...)
        point "journal"
        local result = { write(...) }
        point "journal"
        return unpack(result)
    end
end

-- Each child, while it runs.
local proc = require "host.proc"
local spawn = proc.spawn
function proc.spawn(options)
    local child, e = spawn(options)
    point "spawn"
    return child, e
end

require("dgrun.run").leave()
require("dgrun.fly.health").smoke_seconds = 0.01
local tickets, lease = require "dgrun.run.tickets", require "dgrun.run.lock"
for i, delay in ipairs(retry.delays) do
    retry.delays[i] = delay * 0.05
end
tickets.ttl = settings.ttl or tickets.ttl
local draw = tickets.draw
function tickets.draw(store, of)
    local number = draw(store, of)
    print(("TICKET %d %s"):format(number, of.run))
    io.stdout:flush()
    return number
end
lease.heartbeat = settings.heartbeat or lease.heartbeat
lease.poll = settings.poll or lease.poll

require("dgrun.fly.api").use {
    token = require("host.secret").new("FLY_API_TOKEN", settings.token), sandbox = true,
    machines_url = settings.url, api_url = settings.url, uiex_url = settings.url,
    pace = settings.pace,
    site = function(url)
        local app, rest = url:match("^https?://([%w-]+)%.fly%.dev(.*)$")
        return app and ("%s/sandbox/site/%s%s"):format(settings.url, app, rest) or url
    end,
}

local status = require("dgrun.cli").main { ... }
require("host.log").flush()
if settings.count then
    for where, count in pairs(passed) do
        print(("POINTS %s %d"):format(where, count))
    end
    io.stdout:flush()
end
os.exit(status)
