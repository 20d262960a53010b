-- An entry of a log as one line for people.
local M = {}

local function unpainted(_, words)
    return words
end

---@param entry {timestamp: string, provider: string, instance: string, region: string,
---  level: string, message: string}
---@param paint? fun(part: "origin"|"level", words: string): string
---@return string
function M.format(entry, paint)
    paint = paint or unpainted
    return ("%s %s %s"):format(paint("origin", ("%s %s[%s] %s"):format(
        (entry.timestamp:gsub("%.%d+Z$", "Z")), entry.provider, entry.instance, entry.region)),
        paint("level", ("[%s]"):format(entry.level)), entry.message)
end

return M
