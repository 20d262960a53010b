-- A sandbox of its own for a test: run(function(fly) … end).
local fs = require "host.fs"
local http = require "host.http"
local json = require "dgrun.core.json"
local sandbox = require "sandbox"
local task = require "dgrun.core.task"

local M = {}

M.web_config = {
    services = { {
        protocol = "tcp", internal_port = 8080, autostart = true,
        ports = { { port = 443, handlers = { "tls", "http" } } },
        checks = { { type = "http", path = "/health", interval = "15s", timeout = "2s" } },
    } },
    guest = { cpu_kind = "shared", cpus = 1, memory_mb = 256 },
}

---@param body fun(fly: table)
---@param opts? {apps?: string[], pace?: number, persist?: boolean, rate_limit?: boolean,
---latency?: number}
function M.run(body, opts)
    opts = opts or {}
    local dir = fs.temp_dir("sandbox")
    local fly = { dir = dir }
    local function start()
        fly.sandbox = sandbox.start {
            dir = dir, apps = opts.apps or { "web" }, pace = opts.pace or 0.01, token = "fo1_test",
            persist = opts.persist, rate_limit = opts.rate_limit, latency = opts.latency,
        }
    end

    ---@return integer? status nil where there was no answer
    ---@return table body, or the error
    ---@return table? headers
    function fly.call(method, path, value, how)
        how = how or {}
        local answer, e = http.request {
            url = fly.sandbox.url .. path, method = method,
            body = value and json.encode(value) or nil,
            headers = {
                Authorization = "Bearer " .. (how.token or "fo1_test"),
                ["fly-machine-lease-nonce"] = how.nonce, Cookie = how.cookie,
            },
        }
        if not answer then
            return nil, e
        end
        return answer.status, answer.body ~= "" and json.decode(answer.body) or {},
            answer.headers
    end

    function fly.register(ref, behaviour)
        local status, made = fly.call("POST", "/sandbox/v1/images",
            { ref = ref, behaviour = behaviour })
        assert(status == 201, made.error)
        return made
    end

    function fly.create(value)
        local status, made = fly.call("POST", "/v1/apps/web/machines", value)
        assert(status == 200, made.error)
        return made
    end

    function fly.web(image)
        local config = { image = image, metadata = { fly_process_group = "app" } }
        for name, value in pairs(M.web_config) do
            config[name] = value
        end
        return fly.create { config = config }
    end

    function fly.get(id)
        local _, machine = fly.call("GET", "/v1/apps/web/machines/" .. id)
        return machine
    end

    function fly.wait(id, state)
        local status, answer = fly.call("GET",
            ("/v1/apps/web/machines/%s/wait?state=%s&timeout=20"):format(id, state))
        assert(status == 200, answer.error)
        return fly.get(id)
    end

    function fly.until_true(f)
        task.timeout(20, function()
            while not f() do
                task.sleep(0.01)
            end
        end)
    end

    function fly.advance(seconds)
        assert(fly.call("POST", "/sandbox/v1/clock", { advance = seconds }) == 200)
    end

    function fly.fault(value)
        local status, answer = fly.call("POST", "/sandbox/v1/faults", value)
        assert(status == 200, answer.error)
    end

    function fly.reopen()
        fly.sandbox.close()
        start()
    end

    start()
    task.scope(function()
        task.defer(function()
            fly.sandbox.close()
            fs.remove(dir, { recursive = true })
        end)
        body(fly)
    end)
end

return M
