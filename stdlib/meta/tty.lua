---@meta host.tty

---Questions at the terminal.
---@class host.tty
local M = {}

---Shows a text and waits for a line, which is not shown. The terminal is as it was when the answer
---is there, the task is cancelled or a signal ends the process.
---@param name string of the sealed value
---@param text string
---@return host.secret.value?
---@return dgrun.err? tty.none without a terminal; tty.ended, tty.many_lines, tty.too_long (64 KiB)
---  or tty.control (an arrow key, for instance) where what was typed is no value
function M.ask(name, text) end

---@return boolean # standard input is a terminal
function M.is_terminal() end

return M
