-- busted inside dgrun, so that tests have the real host and may wait.
-- Each test is a scope of dgrun.task; after it no task and no handle may be left.
local globals = require "dgrun.globals"
local spec_files = require "support.spec_files"
local task = require "dgrun.task"
local host_task = require "host.task"

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

local function subscribe(busted, counts)
    local function complain(element, _, message, trace)
        counts.failed = counts.failed + 1
        local text = type(message) == "table" and (message.message or tostring(message)) or message
        print(("FAILED %s: %s"):format(element.descriptor, element.name or "?"))
        print("  " .. tostring(text):gsub("\n", "\n  "))
        if trace and trace.short_src then
            print(("  at %s:%s"):format(trace.short_src, trace.currentline))
        end
        if type(message) == "table" and message.trace then
            print(message.trace)
        end
        return nil, true
    end
    busted.subscribe({ "failure" }, complain)
    busted.subscribe({ "error" }, complain)
    busted.subscribe({ "test", "end" }, function(element, _, status)
        if status == "success" then
            counts.passed = counts.passed + 1
            print("ok " .. element.name)
        elseif status == "pending" then
            counts.skipped = counts.skipped + 1
            print("skipped " .. element.name)
        end
        return nil, true
    end)
end

---@param folder string
---@param pattern? string of the paths to run
return function(folder, pattern)
    globals.relax()
    require("dgrun.run").leave()
    package.path = table.concat({
        "tests/?.lua", debian_lua .. "?.lua", debian_lua .. "?/init.lua",
    }, ";")
    package.cpath = debian_modules .. "?.so;/usr/lib/lua/5.1/?.so"

    local busted = require "busted.core" ()
    require "busted" (busted)
    local counts = { passed = 0, failed = 0, skipped = 0 }
    subscribe(busted, counts)

    local it = busted.executors.it
    busted.export("it", function(name, body)
        return it(name, body and with_absence(body))
    end)

    for _, path in ipairs(spec_files(folder, pattern)) do
        local chunk, reason = loadfile(path)
        if not chunk then
            counts.failed = counts.failed + 1
            print("FAILED " .. reason)
        else
            busted.executors.file(path, setmetatable({
                getTrace = function(_, info) return info end,
            }, { __call = chunk }))
        end
    end
    require "busted.execute" (busted)(1, { sort = false })

    print(("%d passed, %d failed, %d skipped"):format(counts.passed, counts.failed, counts.skipped))
    if counts.failed > 0 or counts.passed == 0 then
        error(("%d test(s) failed"):format(counts.failed), 0)
    end
end
