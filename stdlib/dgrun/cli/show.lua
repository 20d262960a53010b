-- dgrun show [RUN]: what one run did, step by step.
local err = require "dgrun.core.err"
local history = require "dgrun.run.history"
local journal = require "dgrun.run.journal"
local log = require "host.log"

local M = {}

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local options, words = require("dgrun.cli.options").parse("show", arguments.rest,
        { json = "flag" }, 1)
    local row, steps, effects = history.with(arguments, nil, function(store)
        local found = words[1] and history.find(store, words[1])
            or history.list(store, { limit = 1 })[1]
            or err.raise { code = "input.unknown_run", msg = "no runs yet",
                hint = "dgrun list lists the scripts." }
        return found, journal.steps(store, found.id), journal.effects(store, found.id)
    end)
    local face = require "dgrun.ui.history"
    if options.json then
        log.out(require("dgrun.core.json").masked(face.whole_data(row, steps, effects)) .. "\n")
    else
        log.out(log.clean(face.whole(row, steps, effects)))
    end
    return 0
end

return M
