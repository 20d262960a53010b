-- Reads the log of an app, page by page: docs/fly/deploy.md, section 15. The token of the last page
-- stands for all that was read, so a lost answer loses nothing; ids tell what comes twice.
local api = require "dgrun.fly.api"
local clock = require "dgrun.fly.clock"
local log = require "host.log"
local time = require "host.time"

local M = {}

---Seconds that one page may take.
local PAGE_SECONDS = 30
---So many ids are remembered at least, and those of the last page, however long.
local REMEMBERED = 1000

---@class dgrun.fly.log.entry
---@field app string
---@field timestamp string ISO 8601
---@field message string cleaned of control characters
---@field level string
---@field instance string machine id
---@field region string
---@field provider string "app" for the process, "runner" for the platform

---@class dgrun.fly.log_reader
---@field app string
---@field began number seconds since 1970 by Fly's clock, of the first page
---@field caught_up boolean all that was there when it began was read
local Reader = {}
Reader.__index = Reader

---Most texts are clean; looking is cheaper than a copy.
local function text(value)
    if type(value) ~= "string" then
        return ""
    end
    return value:find("[^\32-\126]") and log.clean(value) or value
end

local function entry_of(app, item)
    local attributes = item.attributes
    if type(attributes) ~= "table" then
        return nil
    end
    local meta = type(attributes.meta) == "table" and attributes.meta or {}
    local event = type(meta.event) == "table" and meta.event or {}
    return {
        app = app, timestamp = text(attributes.timestamp), message = text(attributes.message),
        level = text(attributes.level), instance = text(attributes.instance),
        region = text(attributes.region), provider = text(event.provider),
    }
end

---A server may send again what it sent with the page before. Ids are kept in two sets, so that the
---older ones can be forgotten at once.
function Reader:is_new(id)
    if type(id) ~= "string" then
        return true
    elseif self.ids[id] then
        return false
    end
    self.ids[id], self.id_count = true, self.id_count + 1
    return not self.older_ids[id]
end

function Reader:forget_ids()
    if self.id_count >= REMEMBERED then
        self.older_ids, self.ids, self.id_count = self.ids, {}, 0
    end
end

---The time of an answer by the clock of who sent it, which is that of the lines too.
local function time_of(headers)
    return clock.parse(headers.date or "") or time.wall()
end

---When a line was written; nil when it does not say.
---@param entry dgrun.fly.log.entry
---@return number? # seconds since 1970
function M.time(entry)
    return time.parse(entry.timestamp)
end

---The next page.
---@return dgrun.fly.log.entry[] entries that were not there before
---@return boolean more is there more to be had at once?
function Reader:page()
    local query = { next_token = self.token, instance = self.instance }
    if not self.instance then
        query.region = self.region
    end
    local page, _, answer = api.rest("GET", self.path, { query = query, timeout = PAGE_SECONDS })
    page = type(page) == "table" and page or {}
    local data = type(page.data) == "table" and page.data or {}
    self.began = self.began or time_of(answer.headers)
    self:forget_ids()
    local entries = {}
    for _, item in ipairs(data) do
        local entry = type(item) == "table" and self:is_new(item.id) and entry_of(self.app, item)
        if entry and (not self.region or entry.region == self.region) then
            entries[#entries + 1] = entry
        end
    end
    local next_token = type(page.meta) == "table" and page.meta.next_token
    local moved = type(next_token) == "string" and next_token ~= "" and next_token ~= self.token
    self.token = moved and next_token or self.token
    local more = #data > 0 and moved
    local last = entries[#entries] and M.time(entries[#entries])
    -- The clock of an answer counts whole seconds.
    self.caught_up = self.caught_up or not more or last ~= nil and last > self.began + 1
    return entries, more
end

---@param opts {app: string, instance?: string, region?: string}
---@return dgrun.fly.log_reader
function M.new(opts)
    return setmetatable({
        path = api.path("/api/v1/apps/%s/logs", opts.app), token = "", app = opts.app,
        instance = opts.instance, region = opts.region, ids = {}, older_ids = {}, id_count = 0,
        caught_up = false,
    }, Reader)
end

return M
