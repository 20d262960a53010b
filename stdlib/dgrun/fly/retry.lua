-- Which calls of Fly are made again, and after how long: docs/fly/machines-api.md, section 3.1.
-- What may have happened already is made again only when twice equals once.
local clock = require "dgrun.fly.clock"
local err = require "dgrun.core.err"
local errors = require "dgrun.fly.errors"
local run = require "dgrun.run.context"
local task = require "dgrun.core.task"

local M = {}

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
                    err.raise(errors.unreachable(e, call.what, call.sandbox))
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

return M
