-- How much of a matrix runs. DGRUN_MATRIX=quick takes a fixed part of its points, for the tests
-- that run after each change; DGRUN_MATRIX=rest runs the tests that quick leaves out; without it
-- every point is taken, and every test runs.
local M = {}

---Declares a test that "quick" leaves out; where files of tests run, it is set: support/busted.lua.
---@type fun(name: string, body: fun())
M.full_it = nil

---@return boolean
function M.is_quick()
    return os.getenv "DGRUN_MATRIX" == "quick"
end

---@return boolean
function M.is_rest()
    return os.getenv "DGRUN_MATRIX" == "rest"
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
