-- Colours and weights of text, where the stream is a terminal that wants them.
local log = require "host.log"

local M = {}

local codes = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34",
    magenta = "35", cyan = "36" }

---@alias dgrun.ui.style "bold"|"dim"|"red"|"green"|"yellow"|"blue"|"magenta"|"cyan"

---@param stream? "out"|"err" out
---@return boolean
function M.wanted(stream)
    return log.is_terminal(stream or "out") and (os.getenv("NO_COLOR") or "") == ""
        and os.getenv("TERM") ~= "dumb"
end

---Text that is clean already, in a style.
---@param style? dgrun.ui.style
---@param text string
---@param stream? "out"|"err" where it goes to: out
---@return string
function M.paint(style, text, stream)
    if not style or not M.wanted(stream) then
        return text
    end
    return ("\27[%sm%s\27[0m"):format(codes[style], text)
end

return M
