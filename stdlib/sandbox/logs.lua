-- Log lines of machines, and the poll protocol: deploy.md section 15.
local clock = require "sandbox.clock"
local fs = require "host.fs"
local json = require "dgrun.json"
local secret = require "host.secret"
local time = require "host.time"

local M = {}

local PAGE = 100

local function lines_of(world, app)
    local lines = world.lines[app.name]
    if lines then
        return lines
    end
    lines = {}
    world.lines[app.name] = lines
    local text = fs.read(world.dir / ("logs-%s.jsonl"):format(app.name), { limit = 256 * 2 ^ 20 })
    for line in (text or ""):gmatch("[^\n]+") do
        lines[#lines + 1] = json.decode(line)
    end
    return lines
end

---@param provider string "app" for the process, "runner" for the platform
function M.add(world, app, machine, message, provider, level)
    local lines = lines_of(world, app)
    local now = clock.now(world)
    local line = {
        id = ("%s-%d"):format(machine.id, #lines + 1),
        attributes = {
            timestamp = time.iso(now):gsub("Z$", (".%06dZ"):format(now % 1 * 1e6)),
            message = secret.redact(message), level = level or "info",
            instance = machine.id, region = machine.region,
            meta = { instance = machine.id, region = machine.region,
                event = { provider = provider or "app" } },
        },
    }
    lines[#lines + 1] = line
    if world.persist then
        fs.append(world.dir / ("logs-%s.jsonl"):format(app.name), json.encode(line) .. "\n")
    end
end

---The lines of an app that is no more.
function M.forget(world, name)
    world.lines[name] = nil
    if world.persist then
        fs.remove(world.dir / ("logs-%s.jsonl"):format(name))
    end
end

function M.list(world, context)
    local lines = lines_of(world, context.app)
    local at = tonumber((context.query.next_token or ""):match("^%d+$")) or 0
    local data = json.array {}
    while at < #lines and #data < PAGE do
        at = at + 1
        local attributes = lines[at].attributes
        local wanted = (not context.query.instance
                or context.query.instance == attributes.instance)
            and (not context.query.region or context.query.region == attributes.region)
        if wanted then
            data[#data + 1] = lines[at]
        end
    end
    return { data = data, meta = { next_token = tostring(at) } }
end

return M
