---@meta host.time

---@class host.time
local M = {}

---Waits.
---@param seconds number
---@return true? ok
---@return dgrun.err? cancelled
function M.sleep(seconds) end

---@return number seconds on a clock that only moves forward
function M.now() end

---@return number seconds since 1970
function M.wall() end

---Pauses or resumes the clock, for tests. While every task sleeps or waits for another task,
---a paused clock jumps to the end of the shortest sleep: sleep, now and wall follow. It runs at its
---usual speed while a task waits for a child, a query or a transfer, unless a server of this
---process has the request in hand.
---@param on boolean
---@return boolean # whether it was paused
function M.pause(on) end

---@param unix number
---@return string "2026-08-01T10:00:00Z"
function M.iso(unix) end

---Reads RFC 3339 with any offset and fraction.
---@param iso string
---@return number? unix nil for an invalid time
function M.parse(iso) end

return M
