-- Fly's error answers as errors with codes: docs/fly/machines-api.md, section 3.
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local log = require "host.log"

local M = {}

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

---@param id? string of a request
---@return string # to stand behind a message
function M.request_note(id)
    return id and (" (request %s)"):format(id) or ""
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

---The error of a call that nobody answered. A cancel and a refused write stay what they are.
---@param e dgrun.err of host.http
---@param sandbox? boolean it was for the local Fly
---@return dgrun.err
function M.unreachable(e, what, sandbox)
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

return M
