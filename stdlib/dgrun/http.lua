-- HTTP requests of scripts: host.http, with failures raised.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local json = require "dgrun.core.json"
local tables = require "dgrun.core.table"

local M = {}

---@type (fun(url: string): string)?
local router

---Sends URLs elsewhere: the sandbox takes those of apps. nil ends it.
---@param route? fun(url: string): string
function M.use_router(route)
    router = route
end

---@param url string
---@return string # where it is really sent
function M.route(url)
    return router and router(url) or url
end

local function routed(opts)
    local copy = tables.merged(opts)
    if type(copy.url) == "string" then
        copy.url = M.route(copy.url)
    end
    return copy
end

---@class dgrun.http.options
---@field url string
---@field method? string GET by default; a plan refuses all but GET and HEAD
---@field headers? table<string, string|userdata> values may be sealed
---@field body? string|userdata
---@field json? any encoded as the body; sealed values may stand in it
---@field body_file? string path, streamed
---@field timeout? number seconds, 60
---@field connect_timeout? number seconds, 10
---@field limit? integer bytes of the answer, 64 MiB
---@field ca_file? string
---@field follow? boolean redirects; with a sealed header or body only within the same origin

---A transport failure raises http.*; a status is a status.
---@param opts dgrun.http.options
---@return {status: integer, headers: table<string, string>, body: string, seconds: number}
function M.request(opts)
    opts = routed(opts)
    if opts.json ~= nil then
        opts.body = json.body(opts.json)
        opts.json = nil
        opts.headers = opts.headers or {}
        opts.headers["Content-Type"] = opts.headers["Content-Type"] or "application/json"
    end
    return check(require("host.http").request(opts))
end

---@param url string
---@param opts? table as for request
function M.get(url, opts)
    opts = routed(opts or {})
    opts.url = url
    return M.request(opts)
end

---A URL as it may be shown and journaled: without user and query.
local function shown(url)
    return (tostring(url):gsub("[?#].*$", ""):gsub("^(%a[%w+.-]*://)[^/]*@", "%1"))
end

local function write(method, url, opts)
    local copy = tables.merged(opts)
    copy.url, copy.method = url, method
    local answer
    local recorded = effect.write {
        kind = "http." .. method:lower(), target = shown(url),
        summary = method .. " " .. shown(url), name = "response to " .. method,
        apply = function()
            answer = M.request(copy)
            return { status = answer.status, seconds = answer.seconds }
        end,
    }
    return answer or recorded
end

---An effect, as put, patch and delete are: a plan records the request, sends nothing, and gives an
---unknown value. Inside of `apply` of another effect, use request.
---@param url string
---@param opts? table as for request
function M.post(url, opts)
    return write("POST", url, opts)
end

---@param url string
---@param opts? table as for request
function M.put(url, opts)
    return write("PUT", url, opts)
end

---@param url string
---@param opts? table as for request
function M.patch(url, opts)
    return write("PATCH", url, opts)
end

---@param url string
---@param opts? table as for request
function M.delete(url, opts)
    return write("DELETE", url, opts)
end

---A body in pieces: for chunk in http.stream{url = …}:chunks() do … end
---@param opts dgrun.http.options
function M.stream(opts)
    local stream = check(require("host.http").stream(routed(opts)))
    local face = {}
    function face.status() return stream:status() end
    function face.headers() return stream:headers() end
    function face.close() stream:close() end
    function face.chunks()
        return function()
            local chunk, e = stream:read()
            if e then
                err.raise(e)
            end
            return chunk
        end
    end
    return face
end

---Percent-encodes everything but unreserved characters.
---@param text any
---@return string
function M.escape(text)
    return (tostring(text):gsub("[^%w%-._~]", function(c)
        return ("%%%02X"):format(c:byte())
    end))
end

---{a = 1, b = {"x", "y"}} → "a=1&b=x&b=y", in the order of the names
---@param query table
---@return string
function M.query(query)
    local parts = {}
    for _, name in ipairs(tables.keys(query)) do
        local values = query[name]
        for _, value in ipairs(type(values) == "table" and values or { values }) do
            parts[#parts + 1] = M.escape(name) .. "=" .. M.escape(value)
        end
    end
    return table.concat(parts, "&")
end

return M
