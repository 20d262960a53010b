-- dgrun sandbox [--port N]: serves the local Fly until interrupted.
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local folder_of = require "dgrun.run.folder"
local log = require "host.log"
local scripts = require "dgrun.cli.scripts"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---@param input table
function M.run(input)
    local port = input.port or 0
    if port < 0 or port > 65535 then
        err.raise { code = "input.invalid",
            msg = ("sandbox: --port must be a number from 0 to 65535, not %d"):format(port) }
    end
    local root = scripts.root()
    local folder = folder_of.make(root) / "sandbox"
    task.scope(function()
        local sandbox = require("sandbox").start {
            dir = folder, port = port, persist = true,
            apps = environment.apps(root / "scripts"),
        }
        task.defer(sandbox.close)
        log.err(("Serving a local Fly on %s until you press Ctrl-C. Its state is in %s.\n"
            .. "To use it from another shell:\n\n"):format(sandbox.url, folder))
        for _, name in ipairs { "FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL", "FLY_UIEX_BASE_URL" } do
            log.out(("export %s=%s\n"):format(name, sandbox.url))
        end
        log.out(("export FLY_REGISTRY_HOST=%s\n"):format(sandbox.url:match "^http://(.*)$"))
        -- This variable takes precedence over all other tokens. The token itself is not printed.
        log.out(("export FLY_ACCESS_TOKEN=$(cat '%s')\n"):format(folder / "token"))
        log.flush()
        while time.sleep(3600) do
            log.debug("event=sandbox_alive")
        end
    end)
    log.err("stopped\n")
end

return M
