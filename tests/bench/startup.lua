-- How long dgrun takes to start, against `luajit -v` in the same run:
--   dgrun tests/bench/startup.lua [rounds]
-- The commands take turns, so that what else the machine does hits all alike; the median counts.
local dg = require "dgrun"
local fs = require "host.fs"

local rounds = tonumber((...)) or 200
local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local commands = {
    { name = "luajit -v", argv = { "luajit", "-v" } },
    { name = "dgrun version", argv = { binary, "version" }, limit = 2 },
    { name = "dgrun list", argv = { binary, "list" }, limit = 4 },
}

local function median(values)
    table.sort(values)
    return values[math.ceil(#values / 2)]
end

for _, command in ipairs(commands) do
    command.seconds = {}
end
for _ = 1, rounds do
    for _, command in ipairs(commands) do
        local result = dg.proc.run { argv = command.argv, read_only = true }
        table.insert(command.seconds, result.seconds)
    end
end

local base = median(commands[1].seconds)
for _, command in ipairs(commands) do
    local own = median(command.seconds)
    local ratio = own / base
    print(("%-14s %6.2f ms  %.2f times luajit -v%s"):format(command.name, own * 1000, ratio,
        command.limit and ("  (%s %g)"):format(ratio <= command.limit and "within" or "above",
            command.limit) or ""))
end
