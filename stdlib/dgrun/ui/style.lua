-- Text styles, for streams that are terminals and without NO_COLOR:
-- https://no-color.org
local log = require "host.log"

local M = {}

local codes = { bold = "1", dim = "2", red = "31", green = "32", yellow = "33", blue = "34",
    magenta = "35", cyan = "36" }

---@alias dgrun.ui.style "bold"|"dim"|"red"|"green"|"yellow"|"blue"|"magenta"|"cyan"

---Whether this stream shows styles.
---@param stream "out"|"err"
---@return boolean
function M.wanted(stream)
    return log.is_terminal(stream) and (os.getenv "NO_COLOR" or "") == ""
        and os.getenv "TERM" ~= "dumb"
end

---Text without control sequences; in a style if the stream shows styles.
---@param stream "out"|"err"
---@param style? dgrun.ui.style
---@param text string
---@return string
function M.text(stream, style, text)
    text = log.clean(text)
    if not style or text == "" or not M.wanted(stream) then
        return text
    end
    return ("\27[%sm%s\27[0m"):format(codes[style], text)
end

return M
