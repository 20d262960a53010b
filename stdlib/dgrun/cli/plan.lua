-- dgrun plan NAME|FILE [inputs]: runs a script and records its effects instead of applying them.
local err = require "dgrun.core.err"
local execute = require "dgrun.cli.execute"

local M = {}

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    local word = table.remove(arguments.rest, 1)
    if not word then
        err.raise { code = "input.missing", msg = "dgrun plan needs the name of a script or a file",
            hint = "dgrun list lists the scripts." }
    end
    arguments.word = word
    arguments.dashes = arguments.dashes and arguments.dashes - 1
    return execute.run(arguments, { plan = true })
end

return M
