local log = require "host.log"
local version = require "dgrun.core.version"

local M = {}

function M.run()
    log.out("dgrun " .. version .. "\n")
    return 0
end

return M
