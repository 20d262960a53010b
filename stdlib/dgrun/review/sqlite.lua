-- A SQLite file for each review app, for a local Fly.
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local fs = require "host.fs"

local M = {}

local beside = { "", "-wal", "-shm", "-journal" }

local function place_of(server)
    local place = check(dburl.parse(server))
    if place.dialect ~= "sqlite" or not place.path or place.path:sub(1, 1) ~= "/" then
        err.raise { code = "input.invalid", op = "review.sqlite",
            msg = "review.sqlite: server must be a URL such as sqlite+aiosqlite:////tmp/reviews, "
                .. "with the absolute path of a folder" }
    end
    return place
end

---@param opts {server: string|userdata}
---@return dgrun.review.databases
function M.new(opts)
    check.options(opts, { server = "value" }, "review.sqlite")
    local place = place_of(opts.server)
    return function(app)
        local file = place.path / (app .. ".db")
        local database = {}
        function database.create()
            -- SQLite creates the file with the first table.
            return ("sqlite%s:///%s"):format(place.driver and "+" .. place.driver or "", file)
        end
        function database.drop()
            if not fs.exists(file) then
                effect.note(("database %s does not exist"):format(file))
                return
            end
            effect.write {
                kind = "review.database.drop", target = app, before = { file = file },
                summary = ("remove the database of %s"):format(app),
                apply = function()
                    for i = #beside, 1, -1 do
                        if fs.exists(file .. beside[i]) then
                            check(fs.remove(file .. beside[i]))
                        end
                    end
                end,
            }
        end
        return database
    end
end

return M
