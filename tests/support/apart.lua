-- Each file of tests in a process of its own: what one declares as a secret is masked in all that
-- its process says, and would be missing in the words of the others.
local fs = require "host.fs"
local log = require "host.log"
local proc = require "host.proc"
local task = require "dgrun.task"

local AT_ONCE = 2

---@param runner string "tests/run_unit.lua"
---@param path string
---@return {passed: integer, failed: integer, skipped: integer}
local function run(runner, path)
    local result = assert(proc.run {
        argv = { fs.real "/proc/self/exe", runner, "^" .. path:gsub("%p", "%%%0") .. "$" },
    })
    local text = result.stdout .. result.stderr
    local passed, failed, skipped = text:match "\n?(%d+) passed, (%d+) failed, (%d+) skipped"
    if result.status == 0 and not passed then
        failed = 1
    end
    log.out(("%s\n%s\n"):format(path, text:gsub("%d+ passed, %d+ failed, %d+ skipped\n", "")))
    log.flush()
    -- One that ended before it could count has failed.
    return { passed = tonumber(passed) or 0, skipped = tonumber(skipped) or 0,
        failed = math.max(tonumber(failed) or 0, result.status ~= 0 and 1 or 0) }
end

---@param runner string
---@param files string[]
return function(runner, files)
    require("dgrun.run").leave()
    local sum = { passed = 0, failed = 0, skipped = 0 }
    task.map(files, { limit = AT_ONCE }, function(path)
        for name, count in pairs(run(runner, path)) do
            sum[name] = sum[name] + count
        end
    end)
    print(("%d passed, %d failed, %d skipped"):format(sum.passed, sum.failed, sum.skipped))
    if sum.failed > 0 or sum.passed == 0 then
        error(("%d test(s) failed"):format(sum.failed), 0)
    end
end
