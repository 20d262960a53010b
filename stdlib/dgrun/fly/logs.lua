-- Log lines by the poll protocol: deploy.md section 15. The token of the last page stands for all
-- that was read, so a lost answer loses nothing; ids tell what comes twice.
local api = require "dgrun.fly.api"
local check = require "dgrun.check"
local err = require "dgrun.err"
local log = require "host.log"
local task = require "dgrun.task"

local M = {}

---Seconds after an empty page.
local IDLE_PAUSE = 0.128
local FIRST_ERROR_PAUSE, LAST_ERROR_PAUSE = 0.25, 4
local ERRORS_IN_A_ROW = 10
---Ids that are remembered; a page that overlaps is not longer than this.
local REMEMBERED = 1000

---@class dgrun.fly.log.entry
---@field timestamp string ISO 8601
---@field message string cleaned of control characters
---@field level string
---@field instance string machine id
---@field region string
---@field provider string "app" for the process, "runner" for the platform

---@class dgrun.fly.logs.options
---@field app string
---@field instance? string only this machine
---@field region? string only this region

local Reader = {}
Reader.__index = Reader

local function text(value)
    return log.clean(type(value) == "string" and value or "")
end

local function entry_of(item)
    local attributes = type(item) == "table" and item.attributes
    if type(attributes) ~= "table" then
        return nil
    end
    local meta = type(attributes.meta) == "table" and attributes.meta or {}
    local event = type(meta.event) == "table" and meta.event or {}
    return {
        timestamp = text(attributes.timestamp), message = text(attributes.message),
        level = text(attributes.level), instance = text(attributes.instance),
        region = text(attributes.region), provider = text(event.provider),
    }
end

function Reader:is_new(id)
    if type(id) ~= "string" then
        return true
    elseif self.seen[id] then
        return false
    end
    local old = self.ids[self.at]
    if old then
        self.seen[old] = nil
    end
    self.ids[self.at], self.seen[id] = id, true
    self.at = self.at % REMEMBERED + 1
    return true
end

---The next page.
---@return dgrun.fly.log.entry[] entries that were not there before
---@return boolean more is there more to be had at once?
function Reader:page()
    local query = { next_token = self.token, instance = self.instance }
    if not self.instance then
        query.region = self.region
    end
    local page = api.rest("GET", self.path, { query = query })
    local data = type(page.data) == "table" and page.data or {}
    local entries = {}
    for _, item in ipairs(data) do
        local entry = self:is_new(type(item) == "table" and item.id) and entry_of(item)
        entries[#entries + 1] = entry or nil
    end
    local next_token = type(page.meta) == "table" and page.meta.next_token
    local moved = type(next_token) == "string" and next_token ~= "" and next_token ~= self.token
    self.token = moved and next_token or self.token
    return entries, #data > 0 and moved
end

---@param opts dgrun.fly.logs.options
local function reader(opts)
    return setmetatable({
        path = ("/api/v1/apps/%s/logs"):format(opts.app), token = "", instance = opts.instance,
        region = opts.region, seen = {}, ids = {}, at = 1,
    }, Reader)
end

local final = { ["fly.unauthorized"] = true, ["fly.forbidden"] = true, ["fly.not_found"] = true,
    cancelled = true, plan = true }

---Follows until `on_entry` answers true, or the task is cancelled.
---@param opts {app: string, instance?: string, region?: string,
---  on_entry: fun(entry: dgrun.fly.log.entry): boolean?}
function M.follow(opts)
    check.options(opts, { app = "string", instance = "string?", region = "string?",
        on_entry = "function" }, "fly.logs.follow")
    local lines = reader(opts)
    local failures = 0
    while true do
        local ok, entries, more = pcall(lines.page, lines)
        if not ok then
            failures = failures + 1
            if final[err.object(entries).code] or failures >= ERRORS_IN_A_ROW then
                err.raise(entries)
            end
            task.sleep(api.pace(math.min(FIRST_ERROR_PAUSE * 2 ^ (failures - 1),
                LAST_ERROR_PAUSE)))
        else
            failures = 0
            for _, entry in ipairs(entries) do
                if opts.on_entry(entry) then
                    return
                end
            end
            if not more then
                task.sleep(IDLE_PAUSE)
            end
        end
    end
end

local function newest(list, count)
    local result = {}
    for i = math.max(1, #list - count + 1), #list do
        result[#result + 1] = list[i]
    end
    return result
end

---The newest lines, oldest first.
---@param opts {app: string, count?: integer, instance?: string, region?: string} count: 100
---@return dgrun.fly.log.entry[]
function M.last(opts)
    check.options(opts, { app = "string", count = "integer?", instance = "string?",
        region = "string?" }, "fly.logs.last")
    local lines, count = reader(opts), opts.count or 100
    local kept = {}
    repeat
        local entries, more = lines:page()
        for _, entry in ipairs(entries) do
            kept[#kept + 1] = entry
        end
        -- Only the end is wanted: half of a list that grew long is dropped at once.
        if #kept > 2 * count + 1000 then
            kept = newest(kept, count)
        end
    until not more
    return newest(kept, count)
end

---The lines of one machine, as they come, for somebody who waits for something else.
---@param app string
---@param instance string machine id
---@param on_line fun(text: string)
---@return {drain: fun()} # drain reads what there is now
function M.follower(app, instance, on_line)
    local lines = reader { app = app, instance = instance }
    return {
        ---What cannot be read now is not worth failing for.
        drain = function()
            local ok, entries, more
            repeat
                ok, entries, more = pcall(lines.page, lines)
                for _, entry in ipairs(ok and entries or {}) do
                    on_line(entry.message)
                end
            until not ok or not more
        end,
    }
end

---One line as people read it.
---@param entry dgrun.fly.log.entry
---@return string
function M.format(entry)
    return ("%s %s[%s] %s [%s] %s"):format((entry.timestamp:gsub("%.%d+Z$", "Z")), entry.provider,
        entry.instance, entry.region, entry.level, entry.message)
end

---The lines of machines that ended some moment ago; never an error.
---@param app string
---@param instance string
---@param count integer
---@return string[]
function M.tail(app, instance, count)
    local ok, entries = pcall(task.timeout, api.pace(20), function()
        return M.last { app = app, instance = instance, count = count }
    end)
    local result = {}
    for i, entry in ipairs(ok and entries or {}) do
        result[i] = entry.message
    end
    return result
end

return M
