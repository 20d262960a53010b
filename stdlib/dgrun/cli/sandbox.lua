-- dgrun sandbox: serves the local Fly until interrupted, or shows or stops the one that runs.
-- --background is what --sandbox starts.
local check = require "dgrun.core.check"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local folder_of = require "dgrun.run.folder"
local fs = require "host.fs"
local log = require "host.log"
local scripts = require "dgrun.cli.scripts"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

local endings = {
    stop = "stopped\n", cancelled = "stopped\n", gone = "stopped: its folder is gone\n",
    idle = "stopped: no one used it for 15 minutes\n",
}

local function print_variables(sandbox, dir)
    log.err(("Serving a local Fly on %s until you press Ctrl-C. Its state is in %s.\n"
        .. "To use it from another shell:\n\n"):format(sandbox.url, dir))
    for _, name in ipairs { "FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL", "FLY_UIEX_BASE_URL" } do
        log.out(("export %s=%s\n"):format(name, sandbox.url))
    end
    log.out(("export FLY_REGISTRY_HOST=%s\n"):format(sandbox.url:match "^http://(.*)$"))
    -- This variable takes precedence over all other tokens. The token itself is not printed.
    log.out(("export FLY_ACCESS_TOKEN=$(cat '%s')\n"):format(dir / "token"))
    log.flush()
end

local function serve(root, dir, port, background)
    folder_of.make(root)
    -- In the background: those that its clients name.
    local apps = background and {} or environment.apps(root / "scripts")
    task.scope(function()
        local function start()
            return require("sandbox").start { dir = dir, port = port, persist = true, apps = apps,
                serve = background and "background" or "foreground" }
        end
        local sandbox
        if background then
            check(fs.chdir "/")
            sandbox = start()
        else
            sandbox = require("sandbox.background").take_over(dir, start)
            print_variables(sandbox, dir)
        end
        task.defer(sandbox.close)
        log.err(endings[sandbox.wait(background and require("sandbox.lifetime").IDLE_SECONDS)])
    end)
end

local function show(found, dir)
    if not found then
        log.out "The local Fly does not run.\n"
    else
        log.out(("The local Fly runs in the %s, as process %d, since %s.\nURL     %s\nFolder  %s\n")
            :format(found.background and "background" or "foreground", found.pid,
                time.iso(found.started), found.url, dir))
    end
end

---@param input table
function M.run(input)
    local port = input.port
    if port and (port < 0 or port > 65535) then
        err.raise { code = "input.invalid",
            msg = ("sandbox: --port must be a number from 0 to 65535, not %d"):format(port) }
    end
    local root = scripts.root()
    local dir = root / folder_of.name / "sandbox"
    if input.action == "stop" then
        local stopped = require("sandbox.background").stop(dir)
        log.err(stopped and "stopped\n" or "The local Fly does not run.\n")
    elseif input.action == "status" then
        show(require("sandbox.background").status(dir), dir)
    else
        serve(root, dir, port, input.background)
    end
end

return M
