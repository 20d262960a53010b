-- Probes: does it answer as it should? They read only. A try is good, bad, or says nothing, because
-- the prober itself could not ask: that is reported separately, because nothing
-- should be rolled back over it.
local M = {}

---@class dgrun.probe.tries how often, for how long
---@field within? number seconds for all tries; 0, the default, is one try
---@field every? number seconds between two tries, 1
---@field consecutive? integer required number of good tries in a row, 1; a row that was begun in
---  time may end after it

---@class dgrun.probe.http: dgrun.probe.tries
---@field url string
---@field expect? integer|string|(integer|string)[] the status: 200, "2xx", "200-204", or a list of
---  these; 200
---@field body? string a plain substring of the body
---@field header? table<string, string|true> of the answer: a plain substring of its value, or true
---  where it only has to be there
---@field json? table<string, any> values within the body, by their path: ["database.up"] = true,
---  ["items[0].id"] = 7, counted from 0 as in JSON
---@field headers? table<string, string|userdata> of the request
---@field follow? boolean redirects
---@field timeout? number seconds of one request, 5
---@field control? string|false URL that is asked when nobody answers: when it does not answer
---  either, the prober has no network, and the try says nothing. Fly's API, when absent; none for
---  this computer itself

---@class dgrun.probe.tcp: dgrun.probe.tries
---@field host string
---@field port integer
---@field timeout? number seconds of one try, 5
---@field control? string|false as of http

---@class dgrun.probe.command: dgrun.probe.tries
---@field argv string[] a program that changes nothing, and its arguments
---@field expect? integer|integer[] the exit statuses that are good, 0
---@field unknown? integer|integer[] the exit statuses that say nothing
---@field stdout? string a plain substring of its output
---@field cwd? string
---@field env? table<string, string|userdata|false> changes; false removes
---@field timeout? number seconds of one try, 30

---@class dgrun.probe.watch
---@field probe fun(): any|dgrun.probe.http|dgrun.probe.tcp|dgrun.probe.command what is watched: the
---  options of a probe, one try each, or a function that raises or returns false when it is bad
---@field duration? number seconds, 60
---@field interval? number seconds between two tries, 5
---@field allowed_failures? integer bad tries that are no matter, 0
---@field min_samples? integer fewer tries than this that said something are too few to judge by;
---  half of those for which there is time, when absent
---@field name? string what is watched, for people, where `probe` is a function
---@field on_bad? "raise"|"return" raise, when absent
---@field on_inconclusive? "note"|"raise" note, when absent

---@class dgrun.probe.verdict
---@field outcome "good"|"bad"|"inconclusive"
---@field good integer tries
---@field bad integer tries
---@field unknown integer tries that said nothing
---@field why string one line
---@field seconds number

local function tried(kind, opts)
    local attempts = require "dgrun.probe.attempts"
    return attempts.run(require("dgrun.probe." .. kind), opts)
end

---Asks until the answer is right, or the time is over.
---    dg.probe.http { url = env.url / "health", expect = "2xx", json = { status = "ok" },
---        within = 60, consecutive = 3 }
---Errors: probe.failed; probe.inconclusive, when the prober itself had no network.
---@param opts dgrun.probe.http
---@return {status: integer, seconds: number, attempts: integer}? # nil in a plan
function M.http(opts)
    return tried("http", opts)
end

---Connects until something listens there, or the time is over. Nothing is sent.
---Errors: probe.failed, probe.inconclusive.
---@param opts dgrun.probe.tcp
---@return {address: string, seconds: number, attempts: integer}? # nil in a plan
function M.tcp(opts)
    return tried("tcp", opts)
end

---Runs a command until it ends well, or the time is over.
---Errors: probe.failed, probe.inconclusive, proc.not_found.
---@param opts dgrun.probe.command
---@return {status: integer, stdout: string, seconds: number, attempts: integer}? # nil in a plan
function M.command(opts)
    return tried("command", opts)
end

---Looks on for a while. Bad as soon as there were more bad tries than allowed; inconclusive when
---too few said anything; good else. One that is cancelled raises `cancelled`, with what was seen as
---its `verdict`.
---    dg.fly.deploy { …, on_failure = "rollback", gate = function()
---        return dg.probe.watch { probe = { url = env.url / "health" }, duration = 60,
---            interval = 5, allowed_failures = 1 }
---    end }
---Errors: probe.bad; probe.inconclusive, with on_inconclusive = "raise". Both have the `verdict`.
---@param opts dgrun.probe.watch
---@return dgrun.probe.verdict? # nil in a plan
function M.watch(opts)
    return require("dgrun.probe.watch").watch(opts)
end

return M
