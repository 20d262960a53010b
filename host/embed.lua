-- Writes the stdlib as one C file: luajit host/embed.lua OUT.c stdlib/…lua … scripts/…lua …
-- Scripts stand in it as texts: the module `scripts` gives them by name.
-- Run from the project's root, so that messages say stdlib/dgrun/git.lua:12.
local out_path = arg[1]

local function module_name(path)
    local name = path:gsub("^stdlib/", ""):gsub("%.lua$", ""):gsub("/", ".")
    return (name:gsub("%.init$", ""))
end

local function c_string(bytes)
    local lines = {}
    for start = 1, #bytes, 64 do
        local chunk = bytes:sub(start, start + 63)
        lines[#lines + 1] = '    "' .. chunk:gsub(".", function(c)
            return string.format("\\%03o", c:byte())
        end) .. '"'
    end
    return table.concat(lines, "\n")
end

local function read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

local modules, scripts = {}, {}
for i = 2, #arg do
    local source, script = read(arg[i]), arg[i]:match("^scripts/(.*)%.lua$")
    if script then
        scripts[#scripts + 1] = ("[%q] = %q,"):format(script, source)
    else
        local chunk = assert(loadstring(source, "@" .. arg[i]))
        modules[#modules + 1] = { name = module_name(arg[i]), bytecode = string.dump(chunk) }
    end
end
modules[#modules + 1] = { name = "scripts", bytecode = string.dump(assert(loadstring(
    ("return {\n%s\n}"):format(table.concat(scripts, "\n")), "=scripts"))) }
table.sort(modules, function(a, b) return a.name < b.name end)

local out = assert(io.open(out_path, "wb"))
out:write('#include "vm.h"\n\n')
for i, module in ipairs(modules) do
    out:write(("static const char module_%d[] =\n%s;\n\n"):format(i, c_string(module.bytecode)))
end
out:write("const struct vm_chunk vm_stdlib[] = {\n")
for i, module in ipairs(modules) do
    out:write(('    {"%s", module_%d, %d},\n'):format(module.name, i, #module.bytecode))
end
out:write(("};\nconst unsigned vm_stdlib_count = %d;\n"):format(#modules))
out:close()
