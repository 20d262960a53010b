-- The state of the local Fly: what is kept in its folder, and who waits for a change of it.
-- Written before an answer is sent; reading never changes a byte.
local address = require "sandbox.address"
local clock = require "sandbox.clock"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local host_task = require "host.task"
local proc = require "host.proc"
local time = require "host.time"
local vault = require "sandbox.vault"

local M = {}

---@class sandbox.world
---@field apps table<string, table>
---@field images table<string, table> by reference
---@field counter integer for ids
---@field token string
---@field dir string
---@field persist boolean
---@field pace number
---@field clock_offset number seconds that the clock was moved forward
---@field tokens table<string, table> deploy tokens, by their digest
---@field rate_limit boolean
---@field latency number seconds before each answer
---@field exchanges string? file for whole exchanges
---@field waiters table<string, table[]> by machine id
---@field tasks table<table, true> in the background
---@field running table<string, table> the main process of a machine, by its id
---@field building table<string, integer> how many builds write a folder below images/, by its name
---@field former? sandbox.address of the process that had the folder before

---States of earlier versions lack some of it.
local function load_state(dir)
    local text = fs.read(dir / "state.json", { limit = 64 * 1024 * 1024 })
    local state = text and json.decode(text, dir / "state.json")
        or { apps = {}, images = {}, counter = 0 }
    state.clock_offset = state.clock_offset or 0
    state.tokens = state.tokens or {}
    for _, app in pairs(state.apps) do
        app.volumes = app.volumes or {}
        for _, machine in pairs(app.machines) do
            machine.versions = machine.versions or json.array {}
            machine.born = machine.born or 0
        end
    end
    return state
end

local function make_token(persist, dir)
    local text = fs.read(dir / "token", { limit = 1024 })
    if text then
        return text
    end
    local token = "fo1_" .. require("host.digest").sha256(
        ("%s %s %s"):format(dir, time.wall(), tostring({}))):sub(1, 40)
    if persist then
        check(fs.write(dir / "token", token))
    end
    return token
end

---One process at a time: two would overwrite each other's machines.
local function lock_folder(dir)
    local lock, e = fs.lock(dir / "lock")
    if not lock and e.code == "fs.locked" then
        err.raise {
            code = "sandbox.in_use", op = "sandbox.start",
            msg = ("the local Fly in %s is in use by another dgrun"):format(dir),
            hint = "Wait until that dgrun exits, or share a local Fly: dgrun sandbox serves "
                .. "several clients.",
        }
    end
    return check(lock, e)
end

---@return sandbox.world
function M.open(opts)
    local dir = opts.dir
    local persist = opts.persist ~= false
    local lock, former
    if persist then
        check(fs.mkdir(dir, { parents = true }))
        lock = lock_folder(dir)
        former = address.take(dir)
    end
    local world = load_state(dir)
    world.lock, world.former = lock, former
    world.dir = dir
    world.persist = persist
    world.pace = opts.pace or 0.15
    world.token = opts.token or make_token(persist, dir)
    world.tasks = {}
    world.waiters, world.running, world.faults, world.requests = {}, {}, {}, {}
    world.vault = vault.open(dir, persist)
    world.lines = {}
    world.building = {}
    world.buckets, world.bucket_count = {}, 0
    world.rate_limit = opts.rate_limit or false
    world.latency = opts.latency or 0
    world.exchanges = os.getenv("DGRUN_EXCHANGES")
    return world
end

---Is the folder still that of this local Fly? It may have been removed, and made anew by another.
---@return boolean
function M.is_ours(world)
    local here = address.read(world.dir)
    return here ~= nil and here.pid == proc.self().pid and here.url == world.url
end

---Writes the state; call it before answering a request that changed something.
function M.save(world)
    if not world.persist or world.announced and not M.is_ours(world) then
        return
    end
    local text = json.encode {
        apps = world.apps, images = world.images, counter = world.counter,
        clock_offset = world.clock_offset, tokens = world.tokens,
    }
    if text ~= world.saved then
        check(fs.write(world.dir / "state.json", text))
        world.saved = text
    end
end

---A number that was not given out before.
function M.next_number(world)
    world.counter = world.counter + 1
    return world.counter
end

local crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

---A ULID: 26 characters that sort by time.
function M.ulid(world)
    local milliseconds = math.floor(clock.now(world) * 1000)
    local letters = {}
    for i = 10, 1, -1 do
        local digit = milliseconds % 32
        letters[i] = crockford:sub(digit + 1, digit + 1)
        milliseconds = (milliseconds - digit) / 32
    end
    local number = M.next_number(world)
    for i = 26, 11, -1 do
        local digit = number % 32
        letters[i] = crockford:sub(digit + 1, digit + 1)
        number = (number - digit) / 32
    end
    return table.concat(letters)
end

---14 characters that look like those of Fly's machines.
function M.machine_id(world)
    local hash = require("host.digest").sha256(
        ("machine %d %s"):format(M.next_number(world), world.token))
    return hash:sub(1, 14)
end

---Starts a background task that ends with the sandbox.
function M.spawn(world, name, f)
    local task
    task = host_task.spawn(function()
        local result = { pcall(f) }
        world.tasks[task] = nil
        if not result[1] then
            error(result[2], 0)
        end
        return unpack(result, 2)
    end, { name = name, daemon = true })
    world.tasks[task] = true
    return task
end

---Ends all background tasks, and waits for their end.
function M.stop_tasks(world)
    local tasks = {}
    for task in pairs(world.tasks) do
        tasks[#tasks + 1] = task
        task:cancel()
    end
    for _, task in ipairs(tasks) do
        task:join()
    end
end

---Waits until something about a machine changes; false when the time was over first.
function M.wait_change(world, id, seconds)
    local waiters = world.waiters[id] or {}
    world.waiters[id] = waiters
    local sleeper = M.spawn(world, "sandbox.wait", function() return clock.sleep(seconds) end)
    waiters[#waiters + 1] = sleeper
    local _, woken = sleeper:join()
    return woken ~= true
end

---Something about a machine changed: saved, and told to those who wait.
function M.changed(world, machine)
    machine.updated_at = clock.iso(world)
    M.save(world)
    local waiters = world.waiters[machine.id] or {}
    world.waiters[machine.id] = nil
    for _, sleeper in ipairs(waiters) do
        sleeper:cancel()
    end
end

return M
