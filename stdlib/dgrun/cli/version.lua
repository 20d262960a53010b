local M = {}

function M.run()
    require("host.log").out("dgrun " .. require("dgrun.core.version") .. "\n")
    return 0
end

return M
