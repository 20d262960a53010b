-- dg.run: the current run, and what starts one. Each part is loaded when it is first used.
local parts = { "dgrun.run.context", "dgrun.run.execute" }

return setmetatable({}, {
    __index = function(self, name)
        for _, part in ipairs(parts) do
            local value = require(part)[name]
            if value ~= nil then
                rawset(self, name, value)
                return value
            end
        end
    end,
})
