-- The private folders of runs. One that did not finish keeps its folder for `dgrun resume`, until a
-- later run of the same script takes its place.
local fs = require "host.fs"
local journal = require "dgrun.run.journal"
local process = require "dgrun.core.process"

local M = {}

---Is this path the folder of that run? The journal may be shared, and is not trusted with paths.
---A folder that only its owner can enter, and that can be read, is this user's: somebody else
---cannot put another one in its place.
local function belongs(dir, id)
    local name = dir:match("^/.*/([^/]+)$")
    local stat = fs.stat(dir)
    return name ~= nil and name:sub(1, #id + 6) == "dgrun-" .. id
        and not dir:find("/../", 1, true) and stat ~= nil and stat.type == "directory"
        and stat.mode % 64 == 0 and fs.list(dir) ~= nil
end

---The folder that the attempt before left, if it is still there.
---@param store dgrun.store
---@param row table of the run, as it was before this process claimed it
---@return string?
function M.taken_over(store, row)
    local now = journal.run(store, row.id)
    if not now.dir then
        return nil
    elseif row.machine == process.own().machine and belongs(now.dir, row.id) then
        return now.dir
    end
    journal.forget_folder(store, row.id, now.attempt)
end

---Removes the folders of runs of this project that nothing continues in: of finished and
---superseded ones, and of earlier ones of the same script.
---@param store dgrun.store
---@param r dgrun.run the one that ends
---@param kept? boolean it keeps its own folder
function M.sweep(store, r, kept)
    local started = r.past and r.past.run.started or r.started_at
    for _, row in ipairs(journal.with_folder(store, r.root)) do
        local own = row.id == r.id
        local over = own and not kept or row.status == "done" or row.status == "superseded"
            or row.started < started and row.name == r.name
        local ended = own or row.status ~= "running" and row.status ~= "waiting"
            or process.ended(row)
        if over and ended and not (not own and process.children(row.id)[1])
            and journal.forget_folder(store, row.id, row.attempt)
            and belongs(row.dir, row.id) then
            fs.remove(row.dir, { recursive = true })
        end
    end
end

return M
