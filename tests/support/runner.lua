-- Runs the files of tests below a folder. Each file has a process of its own: what one declares as
-- a secret is masked in all that its process prints, and would be missing in the output of others.
--   dgrun tests/run_unit.lua                       all
--   dgrun tests/run_unit.lua fly/                  files whose path contains this
--   dgrun tests/run_unit.lua tests/unit/x_spec.lua "part of a name"
--   dgrun tests/run_unit.lua x_spec --times 10 --load    again and again, beside four busy loops
--   dgrun tests/run_unit.lua --exchanges FOLDER    what the local Fly is asked and answers, a file
--                                                  for each file of tests
local busted = require "support.busted"
local fs = require "host.fs"
local log = require "host.log"
local matrix = require "support.matrix"
local memory_folder = require "support.memory_folder"
local proc = require "host.proc"
local records = require "support.records"
local spec_files = require "support.spec_files"
local task = require "dgrun.core.task"
local templates = require "support.templates"

local BUSY_LOOPS = 4

local binary = fs.real "/proc/self/exe"

---@class support.runner.options
---@field folder string "tests/unit"
---@field runner string "tests/run_unit.lua"
---@field at_once integer files that run side by side
---@field paused? boolean tests run on the paused clock

---@class support.runner.words
---@field pattern? string
---@field only? string
---@field times integer
---@field load boolean
---@field record? string
---@field exchanges? string

---@return support.runner.words
local function parse(argv)
    local words, plain = { times = 1, load = false }, {}
    local valued = { ["--times"] = true, ["--record"] = true, ["--exchanges"] = true }
    local i = 1
    while argv[i] do
        if argv[i] == "--load" then
            words.load = true
        elseif valued[argv[i]] then
            words[argv[i]:sub(3)] = assert(argv[i + 1], argv[i] .. " needs a value")
            i = i + 1
        else
            plain[#plain + 1] = argv[i]
        end
        i = i + 1
    end
    words.times = assert(tonumber(words.times), "--times needs a number")
    words.pattern, words.only = plain[1], plain[2]
    return words
end

---Four processes that only compute, until the scope ends.
local function add_load()
    for _ = 1, BUSY_LOOPS do
        local child = assert(proc.spawn { argv = { "sh", "-c", "while :; do :; done" } })
        task.defer(function()
            child:kill "SIGKILL"
            child:wait()
        end)
    end
end

---Those with tests that "quick" leaves out.
local function with_rest(files)
    local list = {}
    for _, path in ipairs(files) do
        if fs.read(path):find("full_it", 1, true) then
            list[#list + 1] = path
        end
    end
    return list
end

---Files that took longest the last time begin first, so that none is left over at the end.
local function longest_first(files, folder)
    local seconds = {}
    for _, record in ipairs(records.read(folder)) do
        seconds[record.file] = (seconds[record.file] or 0) + record.seconds
    end
    table.sort(files, function(a, b)
        local left, right = seconds[a] or math.huge, seconds[b] or math.huge
        return left > right or left == right and a < b
    end)
end

---A private folder without the exchanges of an earlier run: those would hide what is missing.
---@return string # absolute: tests run dgrun elsewhere
local function exchanges_folder(path)
    assert(fs.mkdir(path, { parents = true }))
    for _, name in ipairs(assert(fs.list(path))) do
        if name:match "%.jsonl$" then
            assert(fs.remove(path / name))
        end
    end
    return (assert(fs.real(path)))
end

---@return support.record[]
local function run_file(opts, path, words, folder)
    local name = path:gsub("/", "_") .. ".jsonl"
    local record = folder / name
    fs.remove(record)
    local argv = { binary, opts.runner, path, words.only or "", "--record", record }
    local result = assert(proc.run { argv = argv,
        env = { DGRUN_EXCHANGES = words.exchanges and words.exchanges / name } })
    local list = records.read(record)
    local counts = records.counts(list)
    if counts.failed == 0 and (result.status ~= 0 or #list == 0) then
        list[#list + 1] = { file = path, names = { "the file" }, status = "failed", seconds = 0,
            message = ("ended with status %d\n%s%s"):format(result.status, result.stdout,
                result.stderr) }
    end
    local seconds = 0
    for _, one in ipairs(list) do
        seconds = seconds + one.seconds
    end
    counts = records.counts(list)
    log.out(("%-6s %s  %d passed%s%s  %.1fs\n"):format(counts.failed > 0 and "FAILED" or "ok", path,
        counts.passed, counts.failed > 0 and (", %d failed"):format(counts.failed) or "",
        counts.skipped > 0 and (", %d skipped"):format(counts.skipped) or "", seconds))
    for line in result.stdout:gmatch "[^\n]+" do
        -- What a matrix counted.
        if line:match "^    %S.*points" then
            log.out(line .. "\n")
        end
    end
    log.flush()
    return list
end

---@param opts support.runner.options
---@param words support.runner.words
---@param files string[]
---@return support.record[]
local function run_files(opts, words, files)
    local folder = assert(fs.temp_dir "dgrun-tests")
    task.defer(function() fs.remove(folder, { recursive = true }) end)
    local all = {}
    for _ = 1, words.times do
        task.map(files, { limit = opts.at_once }, function(path)
            for _, record in ipairs(run_file(opts, path, words, folder)) do
                all[#all + 1] = record
            end
        end)
    end
    return all
end

---@param opts support.runner.options
---@param argv string[]
return function(opts, argv)
    memory_folder()
    templates.keep()
    require("dgrun.run").leave()
    local words = parse(argv)
    if words.record then
        -- One file of many: its parent counts.
        busted(words.pattern, { paused = opts.paused, record = words.record,
            only = words.only ~= "" and words.only or nil })
        return
    end
    local files = spec_files(opts.folder, words.pattern)
    if matrix.is_rest() then
        files = with_rest(files)
    end
    local list
    words.exchanges = words.exchanges and exchanges_folder(words.exchanges)
    if #files == 1 and words.times == 1 and not words.exchanges then
        list = busted(files[1], { paused = opts.paused, only = words.only })
    else
        if words.load then
            add_load()
        end
        local last = ("build/%s.times.jsonl"):format(opts.folder:match "[^/]+$")
        longest_first(files, last)
        list = run_files(opts, words, files)
        if words.times == 1 and not words.pattern and fs.exists "build" then
            fs.remove(last)
            for _, record in ipairs(list) do
                records.append(last, record)
            end
        end
    end
    local folder, suite = os.getenv "DGRUN_RECORDS", os.getenv "DGRUN_SUITE"
    if folder and suite then
        assert(fs.mkdir(folder, { parents = true }))
        for _, record in ipairs(list) do
            records.append(folder / suite .. ".jsonl", record)
        end
    end
    print(records.summary(list))
    local counts = records.counts(list)
    if counts.failed > 0 or counts.passed + counts.skipped == 0 then
        os.exit(1)
    end
end
