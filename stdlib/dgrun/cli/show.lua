-- dgrun show [RUN]: what a run did, step by step.
local err = require "dgrun.core.err"
local face = require "dgrun.ui.history"
local history = require "dgrun.run.history"
local journal = require "dgrun.run.journal"
local json = require "dgrun.core.json"
local log = require "host.log"
local options_of = require "dgrun.cli.options"
local scripts = require "dgrun.cli.scripts"

local M = {}

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local options, words = options_of.parse("show", arguments.rest,
        { json = "flag" }, 1)
    local row, steps, effects = history.with(scripts.root(), {
        sandbox = arguments.sandbox,
    }, function(store)
        local found = words[1] and history.find(store, words[1])
            or history.list(store, { limit = 1 })[1]
            or err.raise { code = "input.unknown_run", msg = "no runs yet",
                hint = "dgrun list lists the scripts." }
        return found, journal.steps(store, found.id), journal.effects(store, found.id)
    end)
    if options.json then
        log.out(json.masked(history.whole_data(row, steps, effects)) .. "\n")
    else
        log.out(log.clean(face.whole(row, steps, effects)))
    end
    return 0
end

return M
