-- dgrun logs --follow for a while, against a local Fly that writes 5,000 lines a second in all and
-- does badly to each twentieth call:
--   dgrun tests/bench/logs.lua [minutes]
-- Nothing may be lost, repeated or out of order, and memory stays as it is after the first tenth.
package.path = "tests/?.lua"

local log = require "host.log"
local log_soak = require "support.log_soak"
local task = require "dgrun.core.task"

local PER_SECOND, MACHINES = 5000, 5

require("dgrun.run").leave()
local minutes = tonumber((...)) or 5
local result
task.scope(function()
    result = log_soak.run {
        per_second = PER_SECOND, lines = minutes * 60 * PER_SECOND, machines = MACHINES,
        faults = { { rate = 0.05, seed = 11 } },
        on_progress = function(lines, memory_kb)
            log.out(("%9d lines, %.1f MB\n"):format(lines, memory_kb / 1024))
        end,
    }
end)
local memory = result.memory_kb
print(("%d lines in %.0f s (%.0f a second), %d calls; lost %d, repeated %d, out of order %d (all "
    .. "limits 0)"):format(result.lines, result.seconds, result.lines / result.seconds,
    result.requests, result.lost, result.repeated, result.disordered))
print(("memory grew by %.1f MB after the first tenth (limit 2); it took %.0f %% of a processor")
    :format((memory[#memory] - memory[1]) / 1024, 100 * result.cpu / result.seconds))
