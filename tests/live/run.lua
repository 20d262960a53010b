-- Asks a local Fly and the real one the same questions, and prints every difference:
--   DGRUN_LIVE_TOKEN=… DGRUN_LIVE_APP=dgrun-live-NAME dgrun tests/live/run.lua
-- It creates and destroys that one app, which must not exist, in the organization of
-- DGRUN_LIVE_ORG, "personal" without. FLY_FLAPS_BASE_URL, FLY_API_BASE_URL and FLY_UIEX_BASE_URL
-- point it at another Fly.
package.path = "tests/?.lua"
local compare = require "live.compare"
local fs = require "host.fs"
local log = require "host.log"
local sandbox = require "sandbox"
local scenario = require "live.scenario"
local secret = require "host.secret"
local service = require "live.service"
local task = require "dgrun.core.task"

local HOW = "Set DGRUN_LIVE_TOKEN to a token of an organization and DGRUN_LIVE_APP to the name of "
    .. "an app that does not exist and begins with dgrun-live-, then run it again: "
    .. "dgrun tests/live/run.lua\n"

local function environment(name)
    local value = os.getenv(name)
    return value ~= "" and value or nil
end

---The answers of a service, and why it did not come to the end.
local function answers_of(opts)
    local asked = service.new(opts)
    local ok, e = pcall(scenario.run, asked)
    local cleaned, gone = pcall(task.shield, asked.clean_up, asked)
    if not (cleaned and gone) then
        log.err(("The app %s could not be destroyed: destroy it by hand.\n"):format(opts.app))
    end
    return asked.answers, not ok and tostring(type(e) == "table" and e.msg or e) or nil
end

local function of_local(app)
    local dir = assert(fs.temp_dir "live")
    local fly = sandbox.start { dir = dir, persist = false, pace = 0.05 }
    task.defer(function()
        fly.close()
        fs.remove(dir, { recursive = true })
    end)
    assert(require("host.http").request { url = fly.url .. "/sandbox/v1/images", method = "POST",
        headers = { Authorization = "Bearer " .. fly.token },
        body = require("dgrun.core.json").encode { ref = scenario.IMAGE,
            behaviour = scenario.behaviour } })
    return answers_of { app = app, org = "personal", image = scenario.IMAGE, token = fly.token,
        machines_url = fly.url, api_url = fly.url, uiex_url = fly.url }
end

local function by_step(answers)
    local found = {}
    for _, answer in ipairs(answers) do
        found[answer.step] = answer
    end
    return found
end

---@return integer
local function report(ours, theirs, app)
    local mine, count = by_step(ours), 0
    for _, answer in ipairs(theirs) do
        local lines = compare.answers(mine[answer.step], answer, app)
        count = count + #lines
        if #lines > 0 then
            log.out(log.clean(answer.step) .. "\n")
        end
        for _, line in ipairs(lines) do
            log.out("  " .. log.clean(line) .. "\n")
        end
    end
    log.out(("%d questions, %d differences\n"):format(#theirs, count))
    return count
end

local function main()
    local token, app = secret.from_env "DGRUN_LIVE_TOKEN", environment "DGRUN_LIVE_APP"
    if not token or token:test "empty" or not app or not service.is_throwaway(app) then
        log.err(HOW)
        return 2
    end
    return task.scope(function()
        local ours, problem = of_local(app)
        assert(not problem, problem)
        local theirs, stopped = answers_of { app = app, image = scenario.IMAGE, token = token,
            org = environment "DGRUN_LIVE_ORG" or "personal",
            machines_url = environment "FLY_FLAPS_BASE_URL",
            api_url = environment "FLY_API_BASE_URL", uiex_url = environment "FLY_UIEX_BASE_URL" }
        local count = report(ours, theirs, app)
        if stopped then
            log.err("It ended early: " .. log.clean(stopped) .. "\n")
        end
        return (count > 0 or stopped) and 1 or 0
    end)
end

require("dgrun.run").leave()
local status = main()
log.flush()
os.exit(status)
