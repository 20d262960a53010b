-- dgrun sandbox [--port N]: serves the local Fly until interrupted.
local err = require "dgrun.err"
local log = require "host.log"

local M = {}

local function port_of(rest)
    local port
    local at = 1
    while rest[at] do
        local text = rest[at]:match("^%-%-port=(.*)$")
        if rest[at] == "--port" then
            at = at + 1
            text = rest[at] or ""
        end
        if not text then
            err.raise { code = "input.unknown", msg = ("dgrun sandbox: unknown argument '%s'")
                :format(rest[at]), hint = "It takes --port N." }
        end
        port = text:match("^%d+$") and tonumber(text)
        if not port or port > 65535 then
            err.raise {
                code = "input.invalid",
                msg = ("dgrun sandbox: --port must be a number up to 65535, not '%s'")
                    :format(text),
            }
        end
        at = at + 1
    end
    return port or 0
end

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local port = port_of(arguments.rest)
    local scripts = require "dgrun.cli.scripts"
    local task = require "dgrun.task"
    local root = scripts.root()
    task.scope(function()
        local sandbox = require("sandbox").start {
            dir = root / ".dgrun/sandbox", port = port, persist = true,
            apps = require("dgrun.environment").apps(root),
        }
        task.defer(function() sandbox:close() end)
        log.err(("A local Fly is served on %s. Its state is in %s; Ctrl-C ends it.\n\n")
            :format(sandbox.url, root / ".dgrun/sandbox"))
        for _, name in ipairs { "FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL", "FLY_UIEX_BASE_URL" } do
            log.out(("export %s=%s\n"):format(name, sandbox.url))
        end
        log.flush()
        while true do
            local ok = require("host.time").sleep(3600)
            if not ok then
                break
            end
        end
    end)
    log.err("stopped\n")
    return 0
end

return M
