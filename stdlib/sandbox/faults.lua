-- Failures on request: the n-th call of a kind answers badly, or not at all.
local answer = require "sandbox.answer"
local time = require "host.time"

local M = {}

local fields = {
    method = "string", path = "string", after = "number", times = "number", status = "number",
    reset = "boolean", when = "string", seconds = "number",
}

---POST /sandbox/v1/faults {method, path (Lua pattern), after: calls that pass first, times,
---status | reset, when: "before" or "after" the call is carried out, seconds: delay}
function M.add(world, _, body)
    local fault = { after = 0, times = 1, when = "before" }
    for name, value in pairs(body or {}) do
        if type(value) ~= fields[name] then
            answer.fail(422, ("faults: '%s' is not a field, or of another type"):format(name))
        end
        fault[name] = value
    end
    world.faults[#world.faults + 1] = fault
    return { ok = true }
end

function M.match(world, request)
    for _, fault in ipairs(world.faults) do
        local fits = (not fault.method or fault.method == request.method)
            and (not fault.path or request.path:find(fault.path))
            and request.path ~= "/sandbox/v1/faults"
        if fits and fault.after > 0 then
            fault.after = fault.after - 1
        elseif fits and fault.times > 0 then
            fault.times = fault.times - 1
            return fault
        end
    end
end

function M.apply(fault, request)
    if fault.seconds then
        time.sleep(fault.seconds)
    end
    if fault.reset then
        return request:abort()
    end
    request:reply {
        status = fault.status or 500, headers = { ["Content-Type"] = "application/json" },
        body = '{"error":"injected failure"}',
    }
end

return M
