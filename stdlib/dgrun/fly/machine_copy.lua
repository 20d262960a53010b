-- The configuration of a machine for another one.
local tables = require "dgrun.core.table"

local M = {}

---Without what belongs to this machine alone.
---@param machine table as the API shows it
---@return table config of the Machines API
function M.configuration(machine)
    local config = tables.copy(machine.config)
    for _, mount in ipairs(config.mounts or {}) do
        mount.volume = nil
    end
    config.standbys = nil
    return config
end

return M
