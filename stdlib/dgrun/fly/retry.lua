-- How a call of Fly is made: when, how often, and as what error. Which calls are made again, and
-- after how long: docs/fly/machines-api.md, section 3.1. What may have happened already is made
-- again only when twice equals once.
local clock = require "dgrun.fly.clock"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local log = require "host.log"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

-- Fly's error answers as errors with codes: docs/fly/machines-api.md, section 3.

local codes = {
    [400] = "fly.invalid", [401] = "fly.unauthorized", [403] = "fly.forbidden",
    [404] = "fly.not_found", [408] = "fly.timeout", [409] = "fly.conflict",
    [412] = "fly.precondition", [422] = "fly.invalid", [429] = "fly.rate_limited",
}

local hints = {
    ["fly.unauthorized"] = "Fly rejected the token. Set FLY_API_TOKEN to a token for this app "
        .. "(fly tokens create deploy -a APP).",
    ["fly.forbidden"] = "The token has no access to this app or organization.",
    ["fly.lease_held"] = "Another deploy or command holds this machine; try again soon.",
    ["fly.lease_lost"] = "Another deploy or command took over. Run again when it has ended.",
    ["fly.capacity"] = "The machine's host is full. Try again, or use another region.",
    ["fly.rate_limited"] = "Fly limits the rate of calls per machine; try again in a moment.",
    ["fly.server"] = "Fly had an internal problem; see https://status.flyio.net.",
}

---What holds for the real Fly does not help with the local one.
local local_hints = {
    ["fly.unauthorized"] = "This local Fly uses another token: the one in its own folder.",
    ["fly.server"] = "The local Fly returned an injected fault or an internal error.",
}

---The text of an error answer: docs/fly/machines-api.md, section 3, "error body".
local function message_of(answer)
    local ok, body = pcall(json.decode, answer.text)
    if ok and type(body) == "table" then
        for _, text in ipairs { body.message or false, body.error or false } do
            if type(text) == "string" and text ~= "" then
                return text, body.status
            end
        end
    end
    local text = format.excerpt(answer.text, 200)
    return text ~= "" and text or "no explanation"
end

---Texts that mean a full host: docs/fly/machines-api.md, section 6.2.
local full = {
    "could not reserve resource for machine", "deploys to this host are temporarily disabled",
    "insufficient memory available to fulfill request",
}

local function code_of(answer, text, status, nonce)
    if text:find("lease currently held by", 1, true) then
        -- Who has a nonce had the lease.
        return nonce and "fly.lease_lost" or "fly.lease_held"
    elseif status == "insufficient_capacity" then
        return "fly.capacity"
    end
    for _, sign in ipairs(full) do
        if text:find(sign, 1, true) then
            return "fly.capacity"
        end
    end
    return codes[answer.status] or (answer.status >= 500 and "fly.server") or "fly.failed"
end

---@param id? string of a request
---@return string # to stand behind a message
function M.request_note(id)
    return id and (" (request %s)"):format(id) or ""
end

---What to do about an app that Fly does not find, nil for another error.
---@param what string the call: GET /v1/apps/web/machines
local function missing_app_hint(what, text, sandbox)
    local app = text:find("Could not find App", 1, true)
        and (text:match 'App "([%w-]+)"' or what:match "/apps/([%w-]+)")
    if not app then
        return nil
    elseif sandbox then
        return ("The local Fly has the apps that scripts/environments.yaml names. Is %s one of "
            .. "them?"):format(app)
    end
    return ("Create the app: fly apps create %s. If it exists already, use a token that has access "
        .. "to it."):format(app)
end

---The error of an answer that is none of the expected ones.
---@param answer {status: integer, text: string, request_id?: string}
---@param what string the call, for the message
---@param nonce? string of a lease that the call was made with
---@param sandbox? boolean the local Fly answered
---@return dgrun.err
function M.of_answer(answer, what, nonce, sandbox)
    local text, status = message_of(answer)
    text = log.clean(text)
    local code = code_of(answer, text, status, nonce)
    local holder, until_time = text:match("lease currently held by (.-), expires at (%S+)")
    return err.new {
        code = code, op = "fly", status = answer.status, request_id = answer.request_id,
        msg = ("%s: Fly answered %d: %s%s"):format(what, answer.status, text,
            M.request_note(answer.request_id)),
        reason = text, holder = holder, held_until = until_time,
        hint = missing_app_hint(what, text, sandbox) or sandbox and local_hints[code]
            or hints[code],
    }
end

---The error of a call without a response. Returns a cancel or a refused write unchanged.
---@param e dgrun.err of host.http
---@param sandbox? boolean it was for the local Fly
---@return dgrun.err
local function unreachable(e, what, sandbox)
    if err.is(e, "cancelled") or err.is(e, "plan") then
        return e
    end
    local code = err.is(e, "http.timeout") and "fly.timeout" or "fly.unreachable"
    return err.new {
        code = code, op = "fly", cause = e, sent = e.sent,
        msg = ("%s: %s"):format(what, e.reason or e.msg),
        hint = (sandbox and "Is the local Fly still running?" or "Is the network up?")
            .. " The request may have taken effect; a new run checks before it changes anything.",
    }
end

-- Trying again.

---Seconds before each new try, less up to half of it at random.
M.delays = { 0.1, 0.3, 0.9, 2 }
---How long a call waits in all, seconds, while Fly says that there were too many.
M.patience = 60

local PAUSE_LIMIT = 15
local safe = { GET = true, HEAD = true, PUT = true, DELETE = true }
-- A gateway that did not reach the service. flyctl repeats these whatever the method.
local unreached = { [502] = true, [503] = true }
local passing = { [408] = true, [500] = true, [502] = true, [503] = true, [504] = true }

---@class dgrun.fly.retry
---@field method string
---@field what string the call, for messages
---@field repeatable? boolean twice equals once; GET, HEAD, PUT and DELETE are without it
---@field once? boolean not again, whatever happened: the caller looks what became of it
---@field ok? table<integer, true> statuses that are answers
---@field send fun(): table?, table? one try

local function may_repeat(call, answer, e)
    if call.once then
        return false
    end
    local repeatable = call.repeatable or safe[call.method]
    if answer then
        return (repeatable and passing or unreached)[answer.status]
            and not (call.ok and call.ok[answer.status])
    elseif err.is(e, "cancelled") or err.is(e, "plan") or err.is(e, "http.tls") then
        return false
    end
    return e.sent == "no" or repeatable
end

---A run that is asked to stop does not try again what was certainly not carried out.
local function give_up_when_stopping()
    if run.is_stopping() then
        err.raise { code = "cancelled", op = "fly", msg = "cancelled" }
    end
end

local function send(call)
    local waited, tries = 0, 0
    while true do
        local answer, e = call.send()
        if answer and answer.status == 429 and waited < M.patience then
            give_up_when_stopping()
            -- It was not carried out: always safe.
            local pause = math.min(tonumber(answer.headers["retry-after"]) or 1, PAUSE_LIMIT)
            pause = math.max(pause, 0.1) * (1 + math.random() / 10)
            waited = waited + pause
            task.sleep(pause)
        else
            tries = tries + 1
            local delay = M.delays[tries]
            if not delay or not may_repeat(call, answer, e) then
                if not answer then
                    err.raise(unreachable(e, call.what, call.sandbox))
                end
                return answer
            end
            if not answer and e.sent == "no" then
                give_up_when_stopping()
            end
            task.sleep(delay * (0.5 + math.random() / 2))
        end
    end
end

---The answer of a call, made as often as it takes. A change that was begun is brought to its end,
---whatever asks the run to stop: what became of it has to be known.
---@param call dgrun.fly.retry
---@return table answer
function M.send(call)
    if call.method == "GET" or call.method == "HEAD" then
        return send(call)
    end
    task.checkpoint()
    return run.finish("the response to " .. call.what, send, call)
end

---How often a call is made that must happen once.
local SETTLE_TRIES = 3
---How often is looked for what it may have done: a list can miss what was made a moment ago.
local LOOKS = 3

---May a call that failed with this have been carried out?
---@return boolean
function M.is_ambiguous(e)
    return err.is(e, "fly.unreachable") or err.is(e, "fly.timeout") or err.is(e, "fly.server")
end

local function settle(send_once, find)
    for attempt = 1, SETTLE_TRIES do
        local ok, result = pcall(send_once)
        if ok then
            return result
        elseif not M.is_ambiguous(result) or attempt == SETTLE_TRIES then
            err.raise(result)
        end
        for _ = 1, LOOKS do
            task.sleep(clock.pace(1))
            local found = find()
            if found then
                return found
            end
        end
    end
end

---Makes a call that must happen once: when its answer is lost, `find` looks whether it happened
---before another try.
---@generic T
---@param send_once fun(): T the call, made with `once`
---@param find fun(): T? what it did
---@return T
function M.settled(send_once, find)
    task.checkpoint()
    return run.finish("the outcome of a change", settle, send_once, find)
end

-- Fly limits calls of the Machines API for each action and machine: 1/s with bursts of 3, reading a
-- machine 5/s with bursts of 10 (docs/fly/machines-api.md, section 3). Waiting before a call is
-- kinder than being refused.

local READ = { rate = 5, burst = 10 }
local OTHER = { rate = 1, burst = 3 }

---@type table<string, {tokens: number, at: number}>
local buckets = {}

---What a call counts for: the action, and the machine or app it acts on.
---@return string key
---@return {rate: number, burst: number} limit
local function limit_of(method, path)
    path = path:gsub("%?.*$", "")
    local app, id, verb = path:match("^/v1/apps/([^/]+)/machines/([^/]+)/?(.*)$")
    if not id then
        return method .. " " .. path, OTHER
    end
    local limit = method == "GET" and verb == "" and READ or OTHER
    return ("%s %s/%s %s"):format(method, app, id, verb), limit
end

---Seconds until the turn of this call, which is counted.
---@param now number
---@return number
function M.turn(method, path, now)
    local key, limit = limit_of(method, path)
    local bucket = buckets[key] or { tokens = limit.burst, at = now }
    buckets[key] = bucket
    bucket.tokens = math.min(limit.burst, bucket.tokens + (now - bucket.at) * limit.rate)
    bucket.at = now
    bucket.tokens = bucket.tokens - 1
    return bucket.tokens >= 0 and 0 or -bucket.tokens / limit.rate
end

---Waits until Fly would accept the call.
---@param method string
---@param path string
function M.await_turn(method, path)
    local seconds = M.turn(method, path, time.now())
    if seconds > 0 then
        task.sleep(seconds)
    end
end

return M
