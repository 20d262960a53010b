-- Log lines of machines, and the poll protocol: docs/fly/deploy.md, section 15. Lines are kept as
-- the text that is answered, in segments: the newest ones of each app, whatever its machines write.
local answer = require "sandbox.answer"
local clock = require "sandbox.clock"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local secret = require "host.secret"
local time = require "host.time"

local M = {}

---Lines of an answer at most. Fly's number is not known.
M.PAGE = 500
---What is kept of an app is between half of this and all of it, in memory and on disk.
M.KEPT_BYTES = 32 * 2 ^ 20
---@type integer a segment is dropped as a whole
M.SEGMENT_BYTES = 2 ^ 20

---@class sandbox.log.segment
---@field first integer number of its first line
---@field texts string[] each a JSON object
---@field instances string[]
---@field regions string[]
---@field bytes integer

---@class sandbox.log.store
---@field segments sandbox.log.segment[] oldest first; never empty
---@field next integer number of the next line
---@field bytes integer
---@field file_bytes integer of the file that is written now
---@field torn boolean its last line has no end

local function new_segment(store)
    local segment = { first = store.next, texts = {}, instances = {}, regions = {}, bytes = 0 }
    store.segments[#store.segments + 1] = segment
    return segment
end

local function keep(store, text, instance, region)
    local segment = store.segments[#store.segments]
    if segment.bytes >= M.SEGMENT_BYTES then
        segment = new_segment(store)
    end
    local at = #segment.texts + 1
    segment.texts[at], segment.instances[at], segment.regions[at] = text, instance, region
    segment.bytes, store.bytes = segment.bytes + #text, store.bytes + #text
    store.next = store.next + 1
    while store.bytes > M.KEPT_BYTES and #store.segments > 1 do
        store.bytes = store.bytes - table.remove(store.segments, 1).bytes
    end
end

local function file_of(world, name)
    return world.dir / ("logs-%s.jsonl"):format(name)
end

---The file before the one that is written now.
local function older_file_of(world, name)
    return world.dir / ("logs-%s.1.jsonl"):format(name)
end

local function load(world, name)
    local store = { segments = {}, next = 1, bytes = 0, file_bytes = 0, torn = false }
    for i, file in ipairs { older_file_of(world, name), file_of(world, name) } do
        local text = fs.read(file, { limit = 256 * 2 ^ 20 }) or ""
        store.file_bytes = i == 2 and #text or 0
        store.torn = i == 2 and text ~= "" and text:sub(-1) ~= "\n"
        for line in text:gmatch("[^\n]+") do
            local ok, one = pcall(json.decode, line)
            -- A kill may have cut the last one off.
            if ok then
                if not store.segments[1] then
                    store.next = tonumber(one.id:match("%-(%d+)$"))
                    new_segment(store)
                end
                keep(store, line, one.attributes.instance, one.attributes.region)
            end
        end
    end
    if not store.segments[1] then
        new_segment(store)
    end
    return store
end

local function store_of(world, app)
    local store = world.lines[app.name] or load(world, app.name)
    world.lines[app.name] = store
    return store
end

local function append(world, app, store, text)
    local file = file_of(world, app.name)
    if store.file_bytes > M.KEPT_BYTES / 2 then
        fs.rename(file, older_file_of(world, app.name))
        store.file_bytes = 0
    end
    fs.append(file, (store.torn and "\n" or "") .. text)
    store.torn = false
    store.file_bytes = store.file_bytes + #text
end

local LINE = '{"attributes":{"instance":%s,"level":%s,"message":%s,"meta":{"event":{"provider":%s},'
    .. '"instance":%s,"region":%s},"region":%s,"timestamp":"%s"},"id":"%s-%d"}'

---Lines that are written at one moment.
---@param messages string[]
---@param provider? string "app" for the process, "runner" for the platform
---@param level? string
function M.add_all(world, app, machine, messages, provider, level)
    local store, now = store_of(world, app), clock.now(world)
    local timestamp = time.iso(now):gsub("Z$", (".%06dZ"):format(now % 1 * 1e6))
    local instance, region = json.encode(machine.id), json.encode(machine.region)
    provider, level = json.encode(provider or "app"), json.encode(level or "info")
    local texts = {}
    for i, message in ipairs(messages) do
        texts[i] = LINE:format(instance, level, json.encode(secret.redact(message)), provider,
            instance, region, region, timestamp, machine.id, store.next)
        keep(store, texts[i], machine.id, machine.region)
    end
    if world.persist then
        append(world, app, store, table.concat(texts, "\n") .. "\n")
    end
end

---@param message string
---@param provider? string
---@param level? string
function M.add(world, app, machine, message, provider, level)
    M.add_all(world, app, machine, { message }, provider, level)
end

---The lines of an app that is no more.
function M.forget(world, name)
    world.lines[name] = nil
    if world.persist then
        fs.remove(file_of(world, name))
        fs.remove(older_file_of(world, name))
    end
end

---The first segment that holds, or follows, a line.
local function segment_at(store, number)
    local segments = store.segments
    for i = #segments, 2, -1 do
        if segments[i].first <= number then
            return i
        end
    end
    return 1
end

---Up to a page of lines behind number `at`.
---@return string[]
---@return integer at the last one that was looked at
local function page(store, at, instance, region)
    local found, i = {}, segment_at(store, at + 1)
    while store.segments[i] and #found < M.PAGE do
        local segment = store.segments[i]
        local texts, instances, regions = segment.texts, segment.instances, segment.regions
        for n = math.max(1, at + 2 - segment.first), #texts do
            at = segment.first + n - 1
            if (not instance or instance == instances[n]) and (not region or region == regions[n])
            then
                found[#found + 1] = texts[n]
                if #found == M.PAGE then
                    break
                end
            end
        end
        i = i + 1
    end
    return found, at
end

---GET /api/v1/apps/{app}/logs. The token counts lines; one of lines that are gone goes on with the
---oldest that is there.
function M.list(world, context)
    local store, query = store_of(world, context.app), context.query
    local token = query.next_token or ""
    local at = token == "" and 0 or tonumber(token:match("^%d+$"))
        or answer.fail(400, "next_token is not one that was given out")
    local found, last = page(store, math.min(at, store.next - 1), query.instance, query.region)
    return ('{"data":[%s],"meta":{"next_token":"%d"}}'):format(table.concat(found, ","), last)
end

return M
