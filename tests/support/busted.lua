-- busted inside dgrun, so that tests have the real host and may wait.
-- Each test is a scope of dgrun.task; after it no task and no handle may be left.
-- Unit tests run on the paused clock (see host.time): most of them would only wait for health
-- checks, leases and retries. A file about the world outside of the process begins with
-- `before_each(function() time.pause(false) end)`.
local globals = require "dgrun.core.globals"
local host_task = require "host.task"
local matrix = require "support.matrix"
local records = require "support.records"
local task = require "dgrun.core.task"
local time = require "host.time"

local debian_lua = "/usr/share/lua/5.1/"
local debian_modules = ("/usr/lib/%s-linux-gnu/lua/5.1/"):format(
    jit.arch == "x64" and "x86_64" or "aarch64")

---A test body that also proves that nothing of it lives on.
local function with_absence(body)
    return function()
        local before = host_task.stats()
        task.scope(body)
        collectgarbage()
        collectgarbage()
        local after = host_task.stats()
        local tasks, handles = after.tasks - before.tasks, after.handles - before.handles
        if tasks > 0 or handles > 0 then
            error(("%d task(s) and %d handle(s) were left behind"):format(tasks, handles), 0)
        end
    end
end

---The names of the blocks around an element, the outermost first.
local function chain_of(busted, element)
    local names = {}
    while element and element.descriptor ~= "file" and element.descriptor ~= "suite" do
        table.insert(names, 1, tostring(element.name or element.descriptor))
        element = busted.context.parent(element)
    end
    return names
end

local function text_of(message, trace)
    local text = type(message) == "table" and (message.message or tostring(message)) or message
    local lines = { tostring(text) }
    if trace and trace.short_src then
        lines[2] = ("at %s:%s"):format(trace.short_src, trace.currentline)
    end
    if type(message) == "table" and message.trace then
        lines[#lines + 1] = message.trace
    end
    return table.concat(lines, "\n")
end

---@param add fun(record: support.record)
local function subscribe(busted, path, paused, add)
    local open = {} ---@type table<table, support.record>
    local function record_of(element)
        local record = open[element] or { file = path, names = chain_of(busted, element) }
        open[element] = record
        return record
    end
    local function complain(element, _, message, trace)
        local record = record_of(element)
        record.message = (record.message and record.message .. "\n" or "")
            .. text_of(message, trace)
        -- What fails outside of a test has no end of a test.
        if element.descriptor ~= "it" then
            record.status = "failed"
            add(record)
        end
        return nil, true
    end
    busted.subscribe({ "failure" }, complain)
    busted.subscribe({ "error" }, complain)
    busted.subscribe({ "pending" }, function(element, _, message)
        local reason = type(message) == "table" and message.message or message
        -- The line that gave the reason is none of it.
        record_of(element).message = reason and tostring(reason):gsub("^[^%s:]+%.lua:%d+: ", "")
        return nil, true
    end)
    busted.subscribe({ "test", "end" }, function(element, _, status)
        time.pause(paused)
        local record = record_of(element)
        record.status = status == "success" and "passed" or status == "pending" and "skipped"
            or "failed"
        add(record)
        return nil, true
    end)
end

---@class support.busted.options
---@field paused? boolean tests run on the paused clock
---@field only? string part of a test's name: no other runs
---@field record? string file to which a line of JSON is added for each test

---Runs one file of tests and prints how each went.
---@param path string
---@param opts support.busted.options
---@return support.record[]
return function(path, opts)
    globals.relax()
    require("dgrun.run").leave()
    package.path = table.concat({
        "tests/?.lua", debian_lua .. "?.lua", debian_lua .. "?/init.lua",
    }, ";")
    package.cpath = debian_modules .. "?.so;/usr/lib/lua/5.1/?.so"

    local busted = require "busted.core" ()
    require "busted" (busted)
    local list = {}
    local real = records.stopwatch()
    subscribe(busted, path, opts.paused, function(record)
        record.seconds = real()
        list[#list + 1] = record
        if opts.record then
            records.append(opts.record, record)
        end
        print(records.line(record))
    end)

    local it = busted.executors.it
    local function declare(name, body)
        if not opts.only or name:find(opts.only, 1, true) then
            return it(name, body and with_absence(body))
        end
    end
    local function leave_out() end
    busted.export("it", matrix.is_rest() and leave_out or declare)
    matrix.full_it = matrix.is_quick() and leave_out or declare

    local chunk, reason = loadfile(path)
    if not chunk then
        local record = { file = path, names = {}, status = "failed", message = reason,
            seconds = 0 }
        list[1] = record
        if opts.record then
            records.append(opts.record, record)
        end
        print(records.line(record))
    else
        time.pause(opts.paused)
        busted.executors.file(path, setmetatable({
            getTrace = function(_, info) return info end,
        }, { __call = chunk }))
        require "busted.execute" (busted)(1, { sort = false })
    end
    return list
end
