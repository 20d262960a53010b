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

---Everything is out after this but what may begin a secret: that leaves when its next bytes tell,
---or at exit.
function M.flush() end

---Text from elsewhere without escape sequences, control characters (but newline and tab) and
---bidirectional controls; bytes that are not UTF-8 become U+FFFD.
---@param text string
---@return string
function M.clean(text) end

---@param stream "out"|"err"
---@return boolean
function M.is_terminal(stream) end

---Can what is written still reach somebody? Not once who read a pipe, or the terminal, is gone.
---@param stream "out"|"err"
---@return boolean
function M.is_open(stream) end

---@return integer columns of the terminal, 80 where there is none
function M.columns() end

return M
