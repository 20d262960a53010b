---@meta host.tty

---Prompts at the terminal.
---@class host.tty
local M = {}

---Shows a prompt and waits for a line, without echo. The terminal is restored after the line, when
---the task is cancelled, and when a signal ends the process.
---@param name string of the sealed value
---@param text string
---@return host.secret.value?
---@return dgrun.err? tty.none without a terminal; tty.ended, tty.many_lines, tty.too_long (64 KiB)
---  or tty.control (an arrow key, for instance) when the input is not a valid value
function M.ask(name, text) end

---@return boolean # standard input is a terminal
function M.is_terminal() end

return M
