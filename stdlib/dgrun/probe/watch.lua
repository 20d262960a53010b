-- Watches for some time and returns a verdict: good, bad, or inconclusive.
local check = require "dgrun.core.check"
local command = require "dgrun.probe.command"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local http = require "dgrun.probe.http"
local outcome_of = require "dgrun.probe.outcome"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"
local tcp = require "dgrun.probe.tcp"
local time = require "host.time"

local M = {}

local options = {
    probe = "any", duration = "seconds?", interval = "seconds?", allowed_failures = "integer?",
    min_samples = "integer?", name = "string?", on_bad = "string?", on_inconclusive = "string?",
}
local on_bad = { raise = true, ["return"] = true }
local on_inconclusive = { note = true, raise = true }

---The option that only one kind of probe has → that kind.
local kinds = { { "url", http }, { "host", tcp }, { "argv", command } }
local tries = { within = true, every = true, consecutive = true }

local function refuse(text, ...)
    err.raise { code = "input.invalid", op = "probe.watch",
        msg = "probe.watch: " .. text:format(...) }
end

---@return dgrun.probe.one
local function probe_of(opts)
    local probe = opts.probe
    if type(probe) == "function" then
        return { what = opts.name or "a check", try = function()
            return outcome_of.of_call(probe)
        end }
    elseif type(probe) ~= "table" then
        refuse("probe must be a function or the options of a probe, not a %s", type(probe))
    end
    for name in pairs(tries) do
        if probe[name] ~= nil then
            refuse("each sample is a single attempt: use interval and duration instead of %s", name)
        end
    end
    for _, kind in ipairs(kinds) do
        if probe[kind[1]] ~= nil then
            local module = kind[2]
            check.options(probe, module.options, "probe." .. module.name)
            local one = module.prepare(probe)
            one.what = opts.name or one.what
            return one
        end
    end
    refuse("probe needs url, host and port, or argv")
end

---@class dgrun.probe.watch.settings
---@field duration number
---@field interval number
---@field allowed integer
---@field enough integer

---@return dgrun.probe.watch.settings
local function settings_of(opts)
    local set = { duration = opts.duration or 60, interval = opts.interval or 5,
        allowed = opts.allowed_failures or 0 }
    if set.interval <= 0 then
        refuse("interval must be more than 0 seconds")
    elseif set.allowed < 0 or (opts.min_samples or 1) < 1 then
        refuse("allowed_failures must be 0 or more, and min_samples 1 or more")
    end
    local possible = math.floor(set.duration / set.interval) + 1
    set.enough = opts.min_samples or math.ceil(possible / 2)
    if set.enough > possible then
        refuse("min_samples = %d is more than the %d samples that fit into the duration",
            set.enough, possible)
    end
    check.known(opts.on_bad or "raise", on_bad, "probe.watch: unknown on_bad", "input.invalid")
    check.known(opts.on_inconclusive or "note", on_inconclusive,
        "probe.watch: unknown on_inconclusive", "input.invalid")
    return set
end

local function text_of(probe, set)
    return ("%s for %s, every %s, %s allowed"):format(probe.what, format.duration(set.duration),
        format.duration(set.interval), format.count(set.allowed, "failure"))
end

---What a watch with these options would do, for a plan; raises when the options are invalid.
---@param opts dgrun.probe.watch
---@return string
function M.describe(opts)
    check.options(opts, options, "probe.watch")
    local set = settings_of(opts)
    return text_of(probe_of(opts), set)
end

local function add(seen, sample)
    seen[sample.outcome] = seen[sample.outcome] + 1
    seen.why[sample.outcome] = sample.why
end

---Takes samples when due, until the verdict is bad or the duration is over. A sample that becomes
---due during another sample is skipped.
local function take_samples(probe, set, seen)
    local now = time.now
    local start = now()
    while true do
        add(seen, probe.try())
        seen.seconds = now() - start
        local due = (math.floor((now() - start) / set.interval) + 1) * set.interval
        if seen.bad > set.allowed or due > set.duration then
            return
        end
        task.sleep(math.max(0, due - (now() - start)))
    end
end

---@return "good"|"bad"|"inconclusive"
---@return string why
local function judge(probe, set, seen)
    local counts = ("%d good, %d bad%s"):format(seen.good, seen.bad,
        seen.unknown > 0 and (", %d unknown"):format(seen.unknown) or "")
    if seen.bad > set.allowed or seen.bad > 0 and seen.good == 0 then
        return "bad", ("%s: %s; %s"):format(probe.what, counts, seen.why.bad)
    elseif seen.good + seen.bad < set.enough then
        return "inconclusive", ("%s: %s, too few to judge (%d needed)%s"):format(probe.what,
            counts, set.enough, seen.why.unknown and "; " .. seen.why.unknown or "")
    end
    return "good", ("%s: %s"):format(probe.what, counts)
end

local function verdict_of(seen, outcome, why)
    return { outcome = outcome, good = seen.good, bad = seen.bad, unknown = seen.unknown,
        why = why, seconds = seen.seconds }
end

local function raise(code, verdict, hint)
    err.raise { code = code, op = "probe.watch", verdict = verdict, msg = verdict.why, hint = hint }
end

---Reports, now and at the end of the run, that the result is inconclusive.
---@param why string
function M.tell_inconclusive(why)
    effect.note("INCONCLUSIVE: " .. why)
    run.fact("inconclusive", why)
end

---@param opts dgrun.probe.watch
---@return dgrun.probe.verdict?
function M.watch(opts)
    check.options(opts, options, "probe.watch")
    local set, probe = settings_of(opts), probe_of(opts)
    if effect.planning() then
        effect.note("would watch " .. text_of(probe, set))
        return nil
    end
    local seen = { good = 0, bad = 0, unknown = 0, why = {}, seconds = 0 }
    local ok, e = pcall(take_samples, probe, set, seen)
    if not ok and err.is(e, "cancelled") then
        e.verdict = verdict_of(seen, "inconclusive", "cancelled")
    end
    if not ok then
        error(e, 0)
    end
    local verdict = verdict_of(seen, judge(probe, set, seen))
    if verdict.outcome == "bad" and opts.on_bad ~= "return" then
        raise("probe.bad", verdict, "Look at the app's logs, then roll back or fix the app.")
    elseif verdict.outcome == "inconclusive" and opts.on_inconclusive == "raise" then
        raise("probe.inconclusive", verdict, "No failure was observed. Watch again.")
    elseif verdict.outcome == "inconclusive" then
        M.tell_inconclusive(verdict.why)
    else
        effect.note(("watched %s%s"):format(verdict.why,
            verdict.outcome == "bad" and ", which is bad" or ""))
    end
    return verdict
end

return M
