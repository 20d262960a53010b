-- The logs of apps: the last lines, what comes, of one app or of several at once. How a page is
-- read is log_reader.lua.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local log_line = require "dgrun.core.log_line"
local log_reader = require "dgrun.fly.log_reader"
local machines = require "dgrun.fly.machines"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"

local M = {}

---Seconds after an empty page.
local IDLE_PAUSE = 0.128
local FIRST_ERROR_PAUSE, LAST_ERROR_PAUSE = 0.25, 4
local ERRORS_IN_A_ROW = 10
local DEFAULT_COUNT = 100

local final = { ["fly.unauthorized"] = true, ["fly.forbidden"] = true, ["fly.not_found"] = true,
    cancelled = true, plan = true }

---An error of reading a log, with what Fly does not say.
local function explained(app, e)
    e = err.object(e)
    if err.is(e, "fly.not_found") then
        machines.app(app)
    elseif err.is(e, "fly.forbidden") then
        e.hint = "The token may not read logs. A deploy token for a single app does not always "
            .. "allow it" .. (api.is_sandbox() and "."
                or "; fly auth token prints a token that does.")
    end
    return e
end

---Pages until `opts.on_page` answers true; what fails is tried again for a while.
local function follow(reader, opts)
    local failures = 0
    while true do
        local ok, entries, more = pcall(reader.page, reader)
        if not ok then
            local e = err.object(entries)
            failures = failures + 1
            if final[e.code] or failures >= ERRORS_IN_A_ROW then
                err.raise(explained(reader.app, e))
            elseif failures == 1 and opts.on_trouble then
                opts.on_trouble(reader.app, e)
            end
            task.sleep(api.pace(math.min(FIRST_ERROR_PAUSE * 2 ^ (failures - 1),
                LAST_ERROR_PAUSE)))
        else
            if failures > 0 and opts.on_trouble then
                opts.on_trouble(reader.app)
            end
            failures = 0
            if opts.on_page(entries, reader) then
                return
            elseif not more then
                task.sleep(IDLE_PAUSE)
            end
        end
    end
end

---Follows until `on_entry` answers true, or the task is cancelled.
---@param opts {app: string, instance?: string, region?: string,
---  on_entry: fun(entry: dgrun.fly.log.entry): boolean?}
function M.follow(opts)
    check.options(opts, { app = "string", instance = "string?", region = "string?",
        on_entry = "function" }, "fly.logs.follow")
    follow(log_reader.new(opts), { on_page = function(entries)
        for _, entry in ipairs(entries) do
            if opts.on_entry(entry) then
                return true
            end
        end
    end })
end

local function newest(list, count)
    if #list <= count then
        return list
    end
    local result = {}
    for i = #list - count + 1, #list do
        result[#result + 1] = list[i]
    end
    return result
end

---Those that are asked for, of a page.
---@param opts {since?: number, grep?: string}
local function chosen(entries, opts, reader)
    if not opts.since and not opts.grep then
        return entries
    end
    local from = opts.since and reader.began - opts.since
    local result = {}
    for _, entry in ipairs(entries) do
        local written = from and log_reader.time(entry)
        if not (written and written < from)
            and (not opts.grep or entry.message:find(opts.grep, 1, true)) then
            result[#result + 1] = entry
        end
    end
    return result
end

---What was there when it was begun to read: the newest `count`.
local function backlog(reader, count, opts)
    local kept = {}
    repeat
        local ok, entries = pcall(reader.page, reader)
        if not ok then
            err.raise(explained(reader.app, entries))
        end
        for _, entry in ipairs(chosen(entries, opts, reader)) do
            kept[#kept + 1] = entry
        end
        -- Only the end is wanted: half of a list that grew long is dropped at once.
        if #kept > 2 * count + 1000 then
            kept = newest(kept, count)
        end
    until reader.caught_up
    return newest(kept, count)
end

---Lists of entries as one, in the order of time; what comes from one app stays in its order.
local function merge(lists)
    local result, at, times = {}, {}, {}
    local function look(i)
        local entry = lists[i][at[i]]
        times[i] = entry and (log_reader.time(entry) or times[i] or 0)
    end
    for i in ipairs(lists) do
        at[i] = 1
        look(i)
    end
    while true do
        local first
        for i in ipairs(lists) do
            if times[i] and (not first or times[i] < times[first]) then
                first = i
            end
        end
        if not first then
            return result
        end
        result[#result + 1] = lists[first][at[first]]
        at[first] = at[first] + 1
        look(first)
    end
end

---The newest of several apps.
local function last_of(readers, opts)
    local count = opts.count or (opts.since and math.huge or DEFAULT_COUNT)
    local lists = task.map(readers, {}, function(reader) return backlog(reader, count, opts) end)
    return newest(#lists == 1 and lists[1] or merge(lists), count)
end

local choice = { instance = "string?", region = "string?", count = "integer?", since = "seconds?",
    grep = "string?" }

local function options(opts, more, op)
    check.options(opts, tables.merged(choice, more), op)
    if (opts.count or 0) < 0 then
        err.raise { code = "input.invalid", op = op, msg = "the number of last lines must be 0 or "
            .. "more, not " .. opts.count }
    end
end

---The newest lines, oldest first.
---@param opts {app: string, count?: integer, instance?: string, region?: string, since?: number,
---  grep?: string} count: 100, or all with `since`, which is seconds; grep: plain text that the
---  message contains, as it is shown
---@return dgrun.fly.log.entry[]
function M.last(opts)
    options(opts, { app = "string" }, "fly.logs.last")
    return last_of({ log_reader.new(opts) }, opts)
end

---The newest lines of several apps, in the order of time; then, with `follow`, those that come.
---@param opts {apps: string[], follow?: boolean, count?: integer, instance?: string,
---  region?: string, since?: number, grep?: string, instance: id of a machine, the beginning of
---  one, or a name;
---  on_page: fun(entries: dgrun.fly.log.entry[]): boolean?,
---  on_trouble?: fun(app: string, e?: dgrun.err)} on_page gets what was read, none when there is
---  nothing new, and ends it with true; on_trouble hears once that an app's log cannot be read and
---  is tried again, and without an error that it can be
function M.stream(opts)
    options(opts, { apps = "table", follow = "boolean?", on_page = "function",
        on_trouble = "function?" }, "fly.logs.stream")
    local readers, followers = {}, {}
    local instance, apps = opts.instance, opts.apps
    if instance then
        instance, apps = machines.locate(apps, instance)
    end
    for i, app in ipairs(apps) do
        local reader = log_reader.new { app = app, instance = instance, region = opts.region }
        readers[i] = reader
        followers[i] = function()
            follow(reader, { on_trouble = opts.on_trouble, on_page = function(entries)
                return opts.on_page(chosen(entries, opts, reader))
            end })
        end
    end
    if not opts.on_page(last_of(readers, opts)) and opts.follow then
        task.race(followers)
    end
end

---The lines of one machine, as they come, for somebody who waits for something else.
---@param app string
---@param instance string machine id
---@param on_line fun(text: string)
---@return {drain: fun()} # drain reads what there is now
function M.follower(app, instance, on_line)
    local reader = log_reader.new { app = app, instance = instance }
    return {
        ---What cannot be read now is not worth failing for.
        drain = function()
            local ok, entries, more
            repeat
                ok, entries, more = pcall(reader.page, reader)
                for _, entry in ipairs(ok and entries or {}) do
                    on_line(entry.message)
                end
            until not ok or not more
        end,
    }
end

---Is it the last line of a machine's main process? Fly's init writes it to the app's own log.
---@param entry dgrun.fly.log.entry
---@return boolean
function M.is_exit(entry)
    local message = entry.message
    return message:find "^%s*INFO Main child exited normally with code: %-?%d+%s*$" ~= nil
        or message:find "^%s*INFO Main child exited with signal %(.*%)%s*$" ~= nil
end

---One line as people read it.
---@param entry dgrun.fly.log.entry
---@param paint? fun(part: "origin"|"level", words: string): string
---@return string
function M.format(entry, paint)
    return log_line.format(entry, paint)
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
