-- Calls of Fly's APIs: the session, typed errors, what is tried again. Rules:
-- docs/fly/machines-api.md, sections 1 to 3.
local err = require "dgrun.core.err"
local check = require "dgrun.core.check"
local clock = require "dgrun.fly.clock"
local context = require "dgrun.run.context"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local local_site = require "dgrun.core.local_site"
local retry = require "dgrun.fly.retry"
local fs = require "host.fs"
local http = require "dgrun.http"
local log = require "host.log"
local pretend = require "dgrun.fly.plan_overlay"
local secret = require "host.secret"
local yaml = require "host.yaml"

local M = {}

---How much of a pause is taken with a local Fly.
local LOCAL_PACE = 0.1

local session
local settings

local function environment(name)
    local value = os.getenv(name)
    return value ~= "" and value or nil
end

---What flyctl keeps in its file; empty when there is none.
---@return table
function M.flyctl_config()
    local folder = environment("FLY_CONFIG_DIR") or (os.getenv("HOME") or "") / ".fly"
    local text = fs.read(folder / "config.yml", { limit = 1024 * 1024 })
    local config = text and yaml.decode(text, { source = "config.yml" })
    return type(config) == "table" and config or {}
end

local function token_of_config()
    local token = M.flyctl_config().access_token
    if type(token) == "string" and token ~= "" then
        return secret.new("FLY_ACCESS_TOKEN", token)
    end
end

local function find_token()
    -- Both are taken out of the environment, whichever counts.
    local access, api = secret.from_env("FLY_ACCESS_TOKEN"), secret.from_env("FLY_API_TOKEN")
    local function usable(value)
        return value and not value:test("empty") and value or nil
    end
    return usable(access) or usable(api) or token_of_config()
end

---@class dgrun.fly.target
---@field token? userdata sealed
---@field machines_url? string
---@field api_url? string
---@field uiex_url? string
---@field sandbox? boolean it is the local Fly
---@field site? fun(url: string): string where an app's address really is
---@field pace? number how much of a pause is taken, 1; of the local Fly, 0.1

---Says which Fly is used. Without it the environment decides, then the real Fly.
---@param opts dgrun.fly.target
function M.use(opts)
    settings = check.options(opts, {
        token = "value?", machines_url = "string?", api_url = "string?", uiex_url = "string?",
        sandbox = "boolean?", site = "function?", pace = "number?",
    }, "fly.api.use")
    session = nil
    clock.forget()
    clock.set_pace(settings.pace or settings.sandbox and LOCAL_PACE or 1)
    http.use_router(opts.site)
    context.use_machines_url(opts.machines_url)
end

---The token in use.
---@return userdata sealed
function M.token()
    return settings and settings.token or find_token() or err.raise {
        code = "fly.unauthorized", op = "fly.session", msg = "no Fly token",
    }
end

---The registry that goes with this Fly.
---@return string # its address
function M.registry_url()
    if settings and settings.sandbox then
        return settings.machines_url
    end
    return image_of.url(environment("FLY_REGISTRY_HOST") or "registry.fly.io")
end

---Where the Machines API in use is.
---@return string
function M.machines_url()
    return context.machines_url()
end

---Seconds between two looks at something that takes a while; a local machine takes less.
---@param seconds number
---@return number
function M.pace(seconds)
    return clock.pace(seconds)
end

---Is this the local Fly?
function M.is_sandbox()
    return settings ~= nil and settings.sandbox == true
end

---The local Fly that another dgrun serves, when the environment names it: `dgrun sandbox` prints
---one address for the registry and for the Machines API.
---@return string? # its address
local function served_elsewhere()
    local registry = environment("FLY_REGISTRY_HOST")
    local url = environment("FLY_FLAPS_BASE_URL")
    return registry and image_of.is_loopback(registry) and url == "http://" .. registry and url
        or nil
end

---Uses the Fly that the environment names.
function M.use_environment()
    local url = served_elsewhere()
    if url then
        M.use { pace = LOCAL_PACE, site = function(address)
            return local_site.url(url, address)
        end }
    end
end

---Is it a local Fly, this process's own or another's? It builds images itself, and takes calls as
---fast as they come.
---@return boolean
function M.is_local()
    return M.is_sandbox() or not (settings and settings.machines_url)
        and served_elsewhere() ~= nil
end

---A command line of dgrun that goes to the Fly in use, for hints.
---@param words string "logs --app my-app"
---@return string
function M.command(words)
    return (M.is_sandbox() and "dgrun --sandbox " or "dgrun ") .. words
end

---@return table session of host.fly
function M.session()
    if session then
        return session
    end
    local own = settings or {}
    local token = own.token or find_token()
    if not token then
        err.raise {
            code = "fly.unauthorized", op = "fly.session",
            msg = "no Fly token: FLY_ACCESS_TOKEN and FLY_API_TOKEN are empty, and "
                .. "~/.fly/config.yml has no token",
            hint = "Set FLY_API_TOKEN (fly tokens create deploy), or use --sandbox.",
        }
    end
    session = require("host.fly").session {
        token = token,
        machines_url = own.machines_url or environment("FLY_FLAPS_BASE_URL"),
        api_url = own.api_url or environment("FLY_API_BASE_URL"),
        uiex_url = own.uiex_url or environment("FLY_UIEX_BASE_URL"),
    }
    return session
end

---@class dgrun.fly.call
---@field query? table
---@field json? any the body; sealed values may stand in it
---@field nonce? string of a lease
---@field timeout? number seconds
---@field ok? table<integer, true> statuses besides 2xx that are answers, not errors
---@field once? boolean do not try again
---@field repeatable? boolean doing it twice equals doing it once

local call_options = {
    query = "table?", json = "any?", nonce = "string?", timeout = "seconds?", ok = "table?",
    once = "boolean?", repeatable = "boolean?",
}

---An answer whose text was cut off or garbled on its way is none.
local function readable(what, answer, e)
    if not answer or answer.text == "" then
        return answer, e
    end
    local good = answer.status >= 200 and answer.status < 300
    if not good and answer.text:sub(1, 1) ~= "{" then
        return answer -- gateways answer with pages; their status says enough
    end
    local ok, body = pcall(json.decode, answer.text, what)
    if not ok then
        return nil, err.new { code = "fly.unreadable", sent = "maybe", op = "fly",
            msg = "the response is not valid JSON" .. retry.request_note(answer.request_id) }
    end
    answer.body = good and body or nil
    return answer
end

local function call(api, method, path, opts)
    opts = check.options(opts or {}, call_options, "fly." .. api)
    local pretended, as_status = pretend.answer(method, path)
    if as_status then
        return pretended, as_status
    end
    if opts.query and next(opts.query) then
        path = path .. "?" .. http.query(opts.query)
    end
    local what = ("%s %s"):format(method, path)
    local request = {
        api = api, method = method, path = path, nonce = opts.nonce, timeout = opts.timeout,
        body = opts.json ~= nil and json.body(opts.json) or nil,
    }
    local current = M.session()
    local answer = retry.send {
        method = method, what = what, ok = opts.ok, once = opts.once, repeatable = opts.repeatable,
        sandbox = M.is_sandbox(),
        send = function()
            if api == "machines" and not M.is_local() then
                retry.await_turn(method, path)
            end
            return readable(what, current:request(request))
        end,
    }
    clock.hear(answer.headers.date)
    local accepted = answer.status >= 200 and answer.status < 300
    if not accepted and not (opts.ok and opts.ok[answer.status]) then
        local e = retry.of_answer(answer, what, opts.nonce, M.is_sandbox())
        e.machine = path:match("/machines/([^/?]+)")
        err.raise(e)
    end
    return accepted and answer.body or nil, answer.status, answer
end

---The path of a call: path("/v1/apps/%s/machines", app). Each piece is escaped, and is a name of
---its own: it cannot lead to another path.
---@param form string
---@param ... string
---@return string
function M.path(form, ...)
    local pieces = {}
    for i = 1, select("#", ...) do
        local piece = tostring((select(i, ...)))
        if piece:match "^%.*$" then
            err.raise { code = "input.invalid", op = "fly",
                msg = ("'%s' is not the name of an app or the ID of a machine"):format(piece) }
        end
        pieces[i] = http.escape(piece)
    end
    return form:format(unpack(pieces))
end

---A call of the Machines API: machines("GET", api.path("/v1/apps/%s/machines", app))
---@param method string
---@param path string
---@param opts? dgrun.fly.call
---@return any body
---@return integer status
function M.machines(method, path, opts)
    return call("machines", method, path, opts)
end

---A call of the web API at api.fly.io, such as the logs.
---@param opts? dgrun.fly.call
function M.rest(method, path, opts)
    return call("api", method, path, opts)
end

---A call of the release API ("ui-ex").
---@param opts? dgrun.fly.call
function M.uiex(method, path, opts)
    return call("uiex", method, path, opts)
end

---@param document string
---@param variables? table
---@return table data
function M.graphql(document, variables)
    local what = "GraphQL"
    local encoded = json.body(variables or {})
    local current = M.session()
    local answer = retry.send {
        method = document:match("^%s*mutation") and "POST" or "GET", what = what,
        sandbox = M.is_sandbox(),
        send = function()
            return readable(what, current:graphql { document = document, variables = encoded })
        end,
    }
    if answer.status ~= 200 then
        err.raise(retry.of_answer(answer, what, nil, M.is_sandbox()))
    end
    local result = answer.body
    local first = type(result.errors) == "table" and result.errors[1]
    if first then
        local extensions = type(first.extensions) == "table" and first.extensions or {}
        err.raise {
            code = tostring(first.message):find("Could not find App", 1, true) and "fly.not_found"
                or "fly.graphql",
            op = "fly.graphql", graphql_code = extensions.code, request_id = answer.request_id,
            msg = ("GraphQL: %s%s"):format(log.clean(tostring(first.message)),
                retry.request_note(answer.request_id)),
        }
    end
    return result.data
end

return M
