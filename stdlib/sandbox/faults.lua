-- Failures on request: the n-th call of a kind answers badly, late, or not at all.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local json = require "dgrun.core.json"
local proxy = require "sandbox.proxy"

local M = {}

local PRIME = 2 ^ 31 - 1

local fields = {
    method = "string", path = "string", after = "number", times = "number", status = "number",
    reset = "boolean", when = "string", seconds = "number", retry_after = "number",
    cut = "boolean", invalid = "boolean", kind = "string", rate = "number", seed = "number",
}

-- What a fault by chance does: all that networks and overloaded servers do.
local mishaps = {
    { status = 503, when = "before" }, { status = 503, when = "after" },
    { status = 500, when = "before" }, { status = 502, when = "after" },
    { status = 429, when = "before", retry_after = 1 }, { reset = true, when = "before" },
    { reset = true, when = "after" }, { invalid = true, when = "after" },
    { cut = true, when = "after" }, { seconds = 0.5, when = "before", late = true },
}

local function verify(body)
    for name, value in pairs(body) do
        if type(value) ~= fields[name] then
            answer.fail(422, ("faults: unknown field '%s', or a value of the wrong type")
                :format(name))
        end
    end
    local status, rate = body.status, body.rate
    if body.when and body.when ~= "before" and body.when ~= "after" then
        answer.fail(422, "faults: when must be before or after")
    elseif body.kind and body.kind ~= "stale_list" then
        answer.fail(422, "faults: the only kind is stale_list")
    elseif status and (status % 1 ~= 0 or status < 200 or status > 599) then
        answer.fail(422, "faults: status must be from 200 to 599")
    elseif rate and (rate < 0 or rate > 1) then
        answer.fail(422, "faults: rate must be from 0 to 1")
    elseif (body.seconds or 0) < 0 or (body.after or 0) < 0 or (body.times or 0) < 0
        or (body.retry_after or 0) < 0 then
        answer.fail(422, "faults: numbers must be 0 or more")
    elseif body.path and not pcall(string.find, "", body.path) then
        answer.fail(422, "faults: path is not a Lua pattern")
    end
end

---POST /sandbox/v1/faults. Which calls: {method, path (Lua pattern), after: calls that pass first,
---times}, or by chance {rate, seed}. What happens: {status | reset | cut: half of the answer |
---invalid: no JSON, retry_after, when: "before" or "after" the call is carried out, seconds: a
---delay}; a delay alone is followed by the real answer. A site is met by those with a path that
---fits /sandbox/site/APP/…. {kind = "stale_list", seconds}: lists of machines miss what another
---session made in the last seconds.
function M.add(world, _, body)
    body = body or {}
    verify(body)
    local endless = body.kind or body.rate
    local fault = { after = 0, times = endless and math.huge or 1, when = "before" }
    for name, value in pairs(body) do
        fault[name] = value
    end
    local does = fault.status or fault.reset or fault.cut or fault.invalid
    -- Park and Miller's generator; its first numbers are alike for seeds that are.
    fault.state = math.floor(fault.seed or 1) * 48271 % (PRIME - 1) + 1
    fault.late = not does and fault.seconds ~= nil
    fault.chosen = does or fault.late
    world.faults[#world.faults + 1] = fault
    return { ok = true }
end

---DELETE /sandbox/v1/faults
function M.clear(world)
    world.faults = {}
    return { ok = true }
end

---Numbers from 0 to 1 that are the same for the same seed.
local function chance(fault)
    fault.state = fault.state * 16807 % PRIME
    return fault.state / PRIME
end

local function by_chance(fault)
    if chance(fault) >= fault.rate then
        return nil
    elseif fault.chosen then
        return fault
    end
    return mishaps[math.floor(chance(fault) * #mishaps) + 1]
end

local function fits(fault, request)
    local own = request.path:sub(1, 9) == "/sandbox/"
    return not fault.kind and (not fault.method or fault.method == request.method)
        and (fault.path and request.path:find(fault.path) or not fault.path and not own)
        and request.path ~= "/sandbox/v1/faults"
end

local function first(world, request, may)
    for _, fault in ipairs(world.faults) do
        if may(fault) and fits(fault, request) then
            if fault.after > 0 then
                fault.after = fault.after - 1
            elseif fault.times > 0 then
                local found = not fault.rate and fault or by_chance(fault)
                if found then
                    fault.times = fault.times - 1
                    return found
                end
            end
        end
    end
end

---What is to go wrong with a request, or nil.
function M.match(world, request)
    return first(world, request, function() return true end)
end

---What is to go wrong with a request to an app's site, or nil: only what was asked for by its path.
function M.match_site(world, request)
    local app, path = proxy.target_of(request)
    return first(world, { method = request.method, path = "/sandbox/site/" .. app .. path },
        function(fault) return fault.path ~= nil end)
end

---How long a new machine is missing from another session's list, nil when it is not.
---@return number?
function M.stale_seconds(world)
    for _, fault in ipairs(world.faults) do
        if fault.kind == "stale_list" and fault.times > 0 then
            fault.times = fault.times - 1
            return fault.seconds or 2
        end
    end
end

local BROKEN = '{"error": "injected failure", '

---@param real? table the answer that would be sent: {status, headers, body}
function M.apply(fault, request, real)
    if fault.seconds then
        clock.sleep(fault.seconds)
    end
    if fault.reset then
        return request:abort()
    end
    local headers = { ["Content-Type"] = "application/json" }
    if fault.retry_after then
        headers["Retry-After"] = tostring(math.ceil(fault.retry_after))
    end
    local status, body = fault.status or 500, json.encode { error = "injected failure" }
    if fault.invalid then
        status, body = fault.status or (real and real.status or 200), BROKEN
    elseif fault.cut then
        status = fault.status or (real and real.status or 200)
        body = real and #real.body > 1 and real.body or body
    end
    request:reply {
        status = status, headers = headers,
        body = fault.cut and body:sub(1, math.floor(#body / 2)) or body,
        missing = fault.cut and math.ceil(#body / 2) or nil,
    }
end

return M
