-- One attempt of an HTTP probe.
local control = require "dgrun.probe.control"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local http = require "dgrun.http"
local http_status = require "dgrun.core.http_status"
local json = require "dgrun.core.json"
local log = require "host.log"
local secret = require "host.secret"

local M = {}

M.name = "http"
M.options = {
    url = "string", expect = "any?", body = "string?", header = "table?", json = "table?",
    headers = "table?", follow = "boolean?", timeout = "seconds?", control = "any?",
}
M.hint = "Look at the app's logs, then run again or roll back."

local DEFAULT_SECONDS = 5
local SHOWN_BYTES = 80

local function refuse(text, ...)
    err.raise { code = "input.invalid", op = "probe.http",
        msg = "probe.http: " .. text:format(...) }
end

local function ranges_of(expect)
    local ranges, fault = http_status.ranges(expect)
    return ranges or refuse("%s", fault)
end

---"items[0].id" → { "items", 1, "id" }
local function steps_of(path)
    local steps, rest = {}, path
    while rest ~= "" do
        local name, after = rest:match("^%.?([^%.%[%]]+)(.*)$")
        local index
        if not name then
            index, after = rest:match("^%[(%d+)%](.*)$")
        end
        if not after or #steps == 0 and rest:sub(1, 1) == "." then
            refuse("'%s' is not a path within JSON, such as items[0].id", path)
        end
        steps[#steps + 1] = name or tonumber(index) + 1
        rest = after
    end
    return steps
end

local function check_texts(opts)
    for name, wanted in pairs(opts.header or {}) do
        if type(name) ~= "string" or wanted ~= true and type(wanted) ~= "string" then
            refuse('header must map names to strings or to true: { ["Content-Type"] = "json" }')
        end
    end
    if opts.control ~= nil and opts.control ~= false and type(opts.control) ~= "string" then
        refuse("control must be a URL or false")
    end
end

local function wanted_values(opts)
    local list = {}
    for path, value in pairs(opts.json or {}) do
        if type(path) ~= "string" or path == "" or type(value) == "table" then
            refuse('json must map paths to single values: { ["database.up"] = true }')
        end
        list[#list + 1] = { path = path, steps = steps_of(path), value = value }
    end
    table.sort(list, function(a, b) return a.path < b.path end)
    return list
end

---A value for a message. It is masked before it is cut and quoted: a part of a secret would not be
---recognized.
local function shown(value)
    local text = type(value) == "table" and not json.is_number(value) and json.masked(value)
        or type(value) == "string" and ("%q"):format((secret.redact(value)))
        or tostring(value)
    if value == nil or value == json.null then
        text = value == nil and "nothing" or "null"
    end
    return #text > SHOWN_BYTES and text:sub(1, SHOWN_BYTES) .. "…" or text
end

local function value_at(body, steps)
    local value = body
    for _, step in ipairs(steps) do
        if type(value) ~= "table" then
            return nil
        end
        value = value[step]
    end
    return value
end

local function json_fault(answer, wanted)
    if #wanted == 0 then
        return nil
    end
    local ok, body = pcall(json.decode, answer.body)
    if not ok then
        return "its body is not valid JSON"
    end
    for _, one in ipairs(wanted) do
        local value = value_at(body, one.steps)
        if value ~= one.value then
            return ("its %s is %s, not %s"):format(one.path, shown(value), shown(one.value))
        end
    end
end

local function header_fault(answer, wanted)
    for name, text in pairs(wanted or {}) do
        local value = answer.headers[name:lower()]
        if not value then
            return ("it lacks the header %s"):format(name)
        elseif text ~= true and not value:find(text, 1, true) then
            return ("its header %s is %s, without %s"):format(name, shown(value), shown(text))
        end
    end
end

local function fault_of(answer, want)
    if not http_status.is_in(answer.status, want.ranges) then
        local expect = want.opts.expect or 200
        return ("answered %d, not %s"):format(answer.status, type(expect) == "table"
            and format.list(expect, "or") or tostring(expect))
    end
    local fault = want.opts.body and not answer.body:find(want.opts.body, 1, true)
        and ("its body lacks %s"):format(shown(want.opts.body))
        or header_fault(answer, want.opts.header) or json_fault(answer, want.json)
    return fault and ("answered %d, but %s"):format(answer.status, fault)
end

---@param opts dgrun.probe.http
---@return dgrun.probe.one
function M.prepare(opts)
    check_texts(opts)
    local want = { opts = opts, ranges = ranges_of(opts.expect), json = wanted_values(opts) }
    local clean = log.clean
    local function try()
        local seconds = opts.timeout or DEFAULT_SECONDS
        local answer, e = require("host.http").request {
            url = http.route(opts.url), headers = opts.headers,
            follow = opts.follow, timeout = seconds, connect_timeout = seconds,
        }
        if not answer and (err.is(e, "cancelled") or err.is(e, "http.invalid_url")) then
            err.raise(e)
        elseif not answer then
            local unknown = control.why_unknown(e, opts.url, opts.control)
            return { outcome = unknown and "unknown" or "bad", why = unknown or e.reason or e.msg }
        end
        local fault = fault_of(answer, want)
        return { outcome = fault and "bad" or "good",
            why = clean(fault or ("answered %d"):format(answer.status)),
            result = { status = answer.status } }
    end
    return { what = opts.url, try = try }
end

return M
