-- The running image, by digest.
local format = require "dgrun.core.format"
local overview = require "dgrun.fly.overview"

local M = {}

---@class dgrun.status.image
---@field image string reference, by digest
---@field label? string
---@field digest? string
---@field machines integer how many machines run it

local function count(list)
    local found, by_image = {}, {}
    for _, machine in ipairs(list) do
        local key = machine.digest or machine.image
        if machine.kind == "web" and not by_image[key] then
            by_image[key] = { image = machine.image, label = machine.label,
                digest = machine.digest, machines = 0 }
            found[#found + 1] = by_image[key]
        end
        if machine.kind == "web" then
            by_image[key].machines = by_image[key].machines + 1
        end
    end
    table.sort(found, function(a, b)
        return a.machines > b.machines or a.machines == b.machines and a.image < b.image
    end)
    return found
end

---@param target dgrun.status.target
---@return dgrun.status.image? # the image of most machines
---@return string[]? problems
function M.ask(target)
    local found = count(overview.all(target.machines()))
    local problems = {}
    if #found > 1 then
        local parts = {}
        for i, one in ipairs(found) do
            parts[i] = ("%d %s %s"):format(one.machines, one.machines == 1 and "runs" or "run",
                one.label or one.image)
        end
        problems[1] = "its machines differ: " .. format.list(parts)
    end
    return found[1], problems
end

return M
