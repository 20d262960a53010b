-- dgrun history: the runs in the store, newest first.
local face = require "dgrun.ui.history"
local history = require "dgrun.run.history"
local json = require "dgrun.core.json"
local log = require "host.log"
local options_of = require "dgrun.cli.options"
local scripts = require "dgrun.cli.scripts"
local time = require "host.time"

local M = {}

local LIMIT = 20

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local options = options_of.parse("history", arguments.rest, {
        limit = "number", script = "text", status = "text", since = "seconds", here = "flag",
        json = "flag",
    })
    local root = scripts.root()
    local rows = history.with(root, { sandbox = arguments.sandbox }, function(store)
        return history.list(store, {
            limit = options.limit or LIMIT, name = options.script, status = options.status,
            since = options.since and time.wall() - options.since,
            root = options.here and root or nil,
        })
    end)
    if options.json then
        for _, row in ipairs(rows) do
            log.out(json.masked(history.run_data(row)) .. "\n")
        end
    elseif #rows == 0 then
        log.err("No matching runs.\n")
    else
        log.out(log.clean(face.table(rows)))
    end
    return 0
end

return M
