-- How much of a matrix runs. DGRUN_MATRIX=quick takes a fixed part of its points, for the tests
-- that run after each change; without it every point is taken.
local M = {}

---@return boolean
function M.is_quick()
    return os.getenv "DGRUN_MATRIX" == "quick"
end

---@generic T
---@param quick T
---@param full T
---@return T
function M.pick(quick, full)
    if M.is_quick() then
        return quick
    end
    return full
end

return M
