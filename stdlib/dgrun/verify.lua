-- The end of a deploy: checks that the site responds and that the cron machines match their
-- declarations.
local check = require "dgrun.core.check"
local cron = require "dgrun.cron"
local err = require "dgrun.core.err"
local given = require "dgrun.project.environment_options"
local probe = require "dgrun.probe"
local tables = require "dgrun.core.table"

local M = {}

---Seconds for all attempts of a probe without `within`.
local PROBE_SECONDS = 60

---@class dgrun.verify.options
---@field environment? dgrun.environment gives `app`, `probes` and `crons`
---@field source? dgrun.git.source gives `dir`
---@field app? string
---@field probes? dgrun.environment.probe[] as dg.probe.http takes them; the default of
---  `within` is 60 s
---@field crons? dgrun.cron.declaration[]
---@field dir? string folder with the configuration files of the cron machines, "."
---@field image? string that the cron machines must have; default: the image of the web machines

local fill = { app = given.app, crons = given.crons, dir = given.dir,
    probes = function(env) return env and env.probes end }

local function run_probe(probe_options)
    local opts = tables.merged(probe_options)
    opts.within = opts.within or PROBE_SECONDS
    probe.http(opts)
end

local function verify_crons(opts)
    local crons = { app = opts.app, crons = opts.crons, dir = opts.dir,
        image = opts.image or cron.image { app = opts.app } }
    -- A second chance for machines whose running job prevented the update.
    cron.settle(crons)
    cron.verify(crons)
end

---Runs the probes of an environment, updates cron machines whose running job prevented an earlier
---update, and checks that all cron machines match their declarations.
---Errors: those of probe.http, cron.drift.
---@param opts dgrun.verify.options
function M.verify(opts)
    opts = given.fill(opts, fill, "verify")
    check.options(opts, { app = "string?", probes = "table?", crons = "table?", dir = "string?",
        image = "value?" }, "verify")
    for _, options in ipairs(opts.probes or {}) do
        run_probe(options)
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
