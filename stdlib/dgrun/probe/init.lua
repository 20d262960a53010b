-- Probes: read-only checks that a service responds as expected. An attempt is good, bad, or
-- inconclusive when the prober itself has no network. Inconclusive results are reported separately,
-- because they are no reason for a rollback.
local M = {}

---@class dgrun.probe.tries how often and for how long to try
---@field within? number seconds for all attempts; 0, the default, means one attempt
---@field every? number seconds between two attempts, 1
---@field consecutive? integer required number of good attempts in a row, 1; a row that started in
---  time may end after `within`

---@class dgrun.probe.http: dgrun.probe.tries
---@field url string
---@field expect? integer|string|(integer|string)[] the status: 200, "2xx", "200-204", or a list of
---  these; 200
---@field body? string a plain substring of the body
---@field header? table<string, string|true> of the response: a plain substring of the value, or
---  true when the header only has to be present
---@field json? table<string, any> values within the body, by their path: ["database.up"] = true,
---  ["items[0].id"] = 7, counted from 0 as in JSON
---@field headers? table<string, string|userdata> of the request
---@field follow? boolean follow redirects
---@field timeout? number seconds for one request, 5
---@field control? string|false a URL to request after no response: when that URL does not respond
---  either, the prober has no network, and the attempt is inconclusive. Default: Fly's API; none
---  when probing this computer itself

---@class dgrun.probe.tcp: dgrun.probe.tries
---@field host string
---@field port integer
---@field timeout? number seconds for one attempt, 5
---@field control? string|false as for http

---@class dgrun.probe.command: dgrun.probe.tries
---@field argv string[] a program without side effects, and its arguments
---@field expect? integer|integer[] good exit statuses, 0
---@field unknown? integer|integer[] inconclusive exit statuses
---@field stdout? string a plain substring of its output
---@field cwd? string
---@field env? table<string, string|userdata|false> changes; false removes
---@field timeout? number seconds for one attempt, 30

---@class dgrun.probe.watch
---@field probe fun(): any|dgrun.probe.http|dgrun.probe.tcp|dgrun.probe.command what to watch: the
---  options of a probe, with one attempt per sample, or a function that raises or returns false
---  when bad
---@field duration? number seconds, 60
---@field interval? number seconds between two samples, 5
---@field allowed_failures? integer bad samples that are tolerated, 0
---@field min_samples? integer fewer good and bad samples than this are too few to judge; default:
---  half of the samples that fit into the duration
---@field name? string what is watched, for people, when `probe` is a function
---@field on_bad? "raise"|"return" default: raise
---@field on_inconclusive? "note"|"raise" default: note

---@class dgrun.probe.verdict
---@field outcome "good"|"bad"|"inconclusive"
---@field good integer samples
---@field bad integer samples
---@field unknown integer inconclusive samples
---@field why string one line
---@field seconds number

local function tried(kind, opts)
    local attempts = require "dgrun.probe.attempts"
    return attempts.run(require("dgrun.probe." .. kind), opts)
end

---Sends requests until the response is as expected, or times out.
---    dg.probe.http { url = env.url / "health", expect = "2xx", json = { status = "ok" },
---        within = 60, consecutive = 3 }
---Errors: probe.failed; probe.inconclusive, when the prober itself had no network.
---@param opts dgrun.probe.http
---@return {status: integer, seconds: number, attempts: integer}? # nil in a plan
function M.http(opts)
    return tried("http", opts)
end

---Connects until something listens there, or times out. Sends no data.
---Errors: probe.failed, probe.inconclusive.
---@param opts dgrun.probe.tcp
---@return {address: string, seconds: number, attempts: integer}? # nil in a plan
function M.tcp(opts)
    return tried("tcp", opts)
end

---Runs a command until its exit status is good, or times out.
---Errors: probe.failed, probe.inconclusive, proc.not_found.
---@param opts dgrun.probe.command
---@return {status: integer, stdout: string, seconds: number, attempts: integer}? # nil in a plan
function M.command(opts)
    return tried("command", opts)
end

---Watches for some time. The verdict is bad as soon as there are more bad samples than allowed,
---inconclusive when there are too few good or bad samples, and good otherwise. When cancelled,
---raises `cancelled` with the samples so far as its `verdict`.
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
