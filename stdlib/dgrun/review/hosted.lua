-- Databases created by three user-supplied functions, over the API of a database host.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local secret = require "host.secret"
local unknown = require "dgrun.core.unknown"

local M = {}

local function sealed(app, url)
    if secret.is(url) or unknown.is(url) then
        return url
    elseif type(url) ~= "string" or url == "" then
        err.raise { code = "input.invalid", op = "review.hosted",
            msg = ("review.hosted: the database URL of %s is a %s, not a string"):format(app,
                type(url)) }
    end
    return secret.new("DATABASE_URL of " .. app, url)
end

---Makes a change. If the change fails, checks whether it took effect anyway.
local function settled(change, happened)
    local ok, result = pcall(change)
    if ok then
        return result
    elseif err.is(result, "cancelled") then
        error(result, 0)
    end
    local looked, found = pcall(happened)
    if looked and found then
        return found
    end
    error(result, 0)
end

---@param opts dgrun.review.hosted
---@return dgrun.review.databases
function M.new(opts)
    check.options(opts, { what = "string", find = "function", create = "function",
        drop = "function" }, "review.hosted")
    return function(app)
        local database = {}
        function database.create()
            local found = opts.find(app)
            if found then
                effect.note(("%s %s exists"):format(opts.what, app))
                return sealed(app, found)
            end
            return effect.write {
                kind = "review.database.create", target = app, name = "DATABASE_URL",
                summary = ("create %s %s"):format(opts.what, app),
                apply = function()
                    return sealed(app, settled(function() return opts.create(app) end,
                        function() return opts.find(app) end))
                end,
            }
        end
        function database.drop()
            if not opts.find(app) then
                effect.note(("%s %s does not exist"):format(opts.what, app))
                return
            end
            effect.write {
                kind = "review.database.drop", target = app, before = { name = app },
                summary = ("drop %s %s"):format(opts.what, app),
                apply = function()
                    settled(function() opts.drop(app) end, function()
                        return opts.find(app) == nil
                    end)
                end,
            }
        end
        return database
    end
end

return M
