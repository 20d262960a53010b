-- Log lines by the poll protocol: deploy.md section 15.
local api = require "dgrun.fly.api"

local M = {}

---The lines of one machine, as they come.
---@param app string
---@param instance string machine id
---@param on_line fun(text: string)
---@return {drain: fun()} # drain reads what there is now
function M.follower(app, instance, on_line)
    local token = ""
    local function read_page()
        local page = api.rest("GET", ("/api/v1/apps/%s/logs"):format(app),
            { query = { next_token = token, instance = instance } })
        for _, entry in ipairs(page.data) do
            on_line(require("host.log").clean(tostring(entry.attributes.message)))
        end
        local next_token = page.meta and page.meta.next_token
        local moved = type(next_token) == "string" and next_token ~= "" and next_token ~= token
        token = moved and next_token or token
        return #page.data > 0 and moved
    end
    return {
        ---What cannot be read now is not worth failing for.
        drain = function()
            local ok, more
            repeat
                ok, more = pcall(read_page)
            until not ok or not more
        end,
    }
end

return M
