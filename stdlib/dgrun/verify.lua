-- The end of a deploy: does the site answer, and are the cron machines as declared?
local check = require "dgrun.core.check"
local cron = require "dgrun.cron"
local err = require "dgrun.core.err"
local given = require "dgrun.project.environment_options"
local probe = require "dgrun.probe"

local M = {}

---Seconds for all tries of a probe that does not say.
local PROBE_SECONDS = 60

---@class dgrun.verify.options
---@field environment? dgrun.environment gives `app`, `probes` and `crons`
---@field source? dgrun.git.source gives `dir`
---@field app? string
---@field probes? dgrun.environment.probe[] as dg.probe.http takes them; each has 60 s unless it
---  says `within`
---@field crons? dgrun.cron.declaration[]
---@field dir? string where the configuration files of the cron machines are, "."
---@field image? string that the cron machines have; that of the web machines when absent

local fill = { app = given.app, crons = given.crons, dir = given.dir,
    probes = function(env) return env and env.probes end }

local function ask(one)
    local opts = {}
    for name, value in pairs(one) do
        opts[name] = value
    end
    opts.within = opts.within or PROBE_SECONDS
    probe.http(opts)
end

local function verify_crons(opts)
    local crons = { app = opts.app, crons = opts.crons, dir = opts.dir,
        image = opts.image or cron.image { app = opts.app } }
    -- A second chance for those that a tick kept from being updated.
    cron.settle(crons)
    cron.verify(crons)
end

---Asks the probes of an environment, gives cron machines that a tick kept from being updated a
---second chance, and checks that all are as declared.
---Errors: those of probe.http, cron.drift.
---@param opts dgrun.verify.options
function M.verify(opts)
    opts = given.fill(opts, fill, "verify")
    check.options(opts, { app = "string?", probes = "table?", crons = "table?", dir = "string?",
        image = "value?" }, "verify")
    for _, one in ipairs(opts.probes or {}) do
        ask(one)
    end
    if #(opts.crons or {}) == 0 then
        return
    elseif not opts.app then
        err.raise { code = "input.missing_option", op = "verify",
            msg = "verify needs the option 'app' or 'environment' for cron machines" }
    end
    verify_crons(opts)
end

return M
