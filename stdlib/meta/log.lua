---@meta host.log

---The two streams of the process, masked. stdout is the result of a script, stderr the log.
---@class host.log
local M = {}

---@param text string
function M.out(text) end

---@param text string
function M.err(text) end

---One line on stderr when DGRUN_DEBUG is set: the edge of a lifecycle as "key=value …".
---@param text string
function M.debug(text) end

---Writes everything except bytes that may be the start of a secret; these are held until the next
---bytes decide, or until exit.
function M.flush() end

---External text without escape sequences, control characters (except newline and tab), and
---bidirectional controls; bytes that are not UTF-8 become U+FFFD.
---@param text string
---@return string
function M.clean(text) end

---@param stream "out"|"err"
---@return boolean
function M.is_terminal(stream) end

---Whether output can still reach a reader. False once the reader of a pipe, or the terminal,
---closed.
---@param stream "out"|"err"
---@return boolean
function M.is_open(stream) end

---@return integer columns of the terminal, 80 without a terminal
function M.columns() end

return M
