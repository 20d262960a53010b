-- The sites of apps on a local Fly: it serves https://APP.fly.dev below a path of its own.
local M = {}

M.PREFIX = "/sandbox/site/"

---Where the local Fly serves an address; those of other servers stay as they are.
---@param fly string address of the local Fly
---@param url string
---@return string
function M.url(fly, url)
    local app, rest = url:match("^https?://([%w-]+)%.fly%.dev(.*)$")
    return app and fly .. M.PREFIX .. app .. (rest == "" and "/" or rest) or url
end

return M
