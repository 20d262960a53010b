-- dgrun tests/lint/modules.lua [--write]: fails where stdlib/modules.txt, the list of what the
-- binary contains, is not the sorted list of the modules in the folders. --write makes it so.
local fs = require "host.fs"

local LIST = "stdlib/modules.txt"

local function collect(folder, modules)
    for _, name in ipairs(assert(fs.list(folder))) do
        local path = folder / name
        if fs.stat(path).type == "directory" then
            collect(path, modules)
        elseif name:find "%.lua$" then
            modules[#modules + 1] = path
        end
    end
    return modules
end

local modules = collect("stdlib/sandbox", collect("stdlib/dgrun", {}))
table.sort(modules)
local text = table.concat(modules, "\n") .. "\n"
if (...) == "--write" then
    assert(fs.write(LIST, text, { mode = "0644" }))
    return
end

local listed, lines = {}, assert(fs.read(LIST))
for path in lines:gmatch "[^\n]+" do
    listed[path] = true
end
local problems = {}
for _, path in ipairs(modules) do
    if not listed[path] then
        problems[#problems + 1] = "not listed: " .. path
    end
    listed[path] = nil
end
for path in pairs(listed) do
    problems[#problems + 1] = "does not exist: " .. path
end
if lines ~= text and #problems == 0 then
    problems[1] = "the lines are not sorted"
end
if #problems > 0 then
    require("dgrun.core.err").raise { code = "lint.modules",
        msg = LIST .. "\n" .. table.concat(problems, "\n"),
        hint = "Write the list again: dgrun tests/lint/modules.lua --write" }
end
