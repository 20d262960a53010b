-- dgrun tests/report.lua FOLDER: the summary of what was run by ctest. FOLDER has a folder for each
-- preset: ctest.xml, and the records of those suites that report each of their tests.
package.path = "tests/?.lua"
local fs = require "host.fs"
local records = require "support.records"

local folder = ...

local entities = { lt = "<", gt = ">", amp = "&", quot = '"', apos = "'" }

local function plain(xml)
    return (xml:gsub("&(%a+);", entities))
end

---The tests of ctest: each is a program.
---@return {name: string, status: string, seconds: number, output: string}[]
local function programs(path)
    local list = {}
    local xml = fs.read(path, { limit = 2 ^ 28 }) or ""
    for head, body in xml:gmatch "<testcase (.-)>(.-)</testcase>" do
        list[#list + 1] = { name = plain(head:match 'name="(.-)"'),
            status = head:match 'status="(.-)"',
            seconds = tonumber(head:match 'time="(.-)"'),
            output = plain(body:match "<system%-out>(.-)</system%-out>" or "") }
    end
    return list
end

local statuses = { run = "passed", fail = "failed" }

local all = {}
for _, preset in ipairs(assert(fs.list(folder))) do
    for _, program in ipairs(programs(folder / preset / "ctest.xml")) do
        local list = records.read(folder / preset / program.name .. ".jsonl")
        for _, record in ipairs(list) do
            record.suite, record.preset = program.name, preset
            all[#all + 1] = record
        end
        local counts = records.counts(list)
        -- A suite fails with its tests; one that fails without a failing test has ended early.
        if #list == 0 or program.status == "fail" and counts.failed == 0 then
            all[#all + 1] = { file = program.name, names = { program.name }, suite = program.name,
                preset = preset, status = statuses[program.status] or "skipped",
                seconds = program.seconds,
                message = program.status ~= "run" and program.output or nil }
        end
    end
end
print(records.summary(all))
if records.counts(all).failed > 0 or #all == 0 then
    os.exit(1)
end
