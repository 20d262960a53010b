-- Text for what scripts show: data in, text out. Each part is loaded on first use.
local parts = { cron = true, logs = true, machines = true, migrations = true, releases = true,
    review = true, secrets = true, status = true }

---@class dgrun.ui
---@field cron table
---@field logs table
---@field machines table
---@field migrations table
---@field releases table
---@field review table
---@field secrets table
---@field status table
return setmetatable({}, {
    __index = function(_, name)
        return parts[name] and require("dgrun.ui." .. name)
    end,
})
