-- What every chunk finds in its globals, set once when the state opens: output goes through the
-- redactor, nothing stops the loop, a plan cannot write, an undefined name is an error.
local closed = require("host.gate").closed -- a reference of its own: a script may replace the other
local log = require "host.log"
local inspect = require "dgrun.core.inspect"
local path_of = require "dgrun.core.path"

local M = {}

local function joined(text_of, ...)
    local parts = {}
    for i = 1, select("#", ...) do
        parts[i] = text_of((select(i, ...)))
    end
    return parts
end

-- A table shows its fields.
local function shown(value)
    return type(value) == "table" and inspect.text(value) or tostring(value)
end

local line_is_open = false

local function write_out(text)
    line_is_open = text ~= "" and text:sub(-1) ~= "\n" or text == "" and line_is_open
    log.out(text)
end

---Ends the line that a script began on standard output, where a terminal shows both streams: a
---line of progress does not go on in it.
function M.end_line()
    if line_is_open and log.is_terminal "out" and log.is_terminal "err" then
        write_out "\n"
        log.flush()
    end
end

function print(...)
    write_out(table.concat(joined(shown, ...), "\t") .. "\n")
end

---A stand-in for io.stdout and io.stderr that writes through the redactor.
local function stream(write)
    local S = {}
    function S.write(self, ...)
        write(table.concat(joined(tostring, ...)))
        return self
    end
    function S.flush(self)
        log.flush()
        return self
    end
    function S.setvbuf()
        return true
    end
    function S.close()
        return nil, "standard streams stay open"
    end
    return S
end

local open = io.open
io.stdout = stream(write_out)
io.stderr = stream(log.err)

function io.write(...)
    return io.stdout:write(...)
end

local function refuse(name, instead)
    return function()
        error(name .. " stops the loop; use " .. instead, 2)
    end
end

os.execute = refuse("os.execute", "dgrun.proc.run")
io.popen = refuse("io.popen", "dgrun.proc.run")

local function guarded(name, write)
    return function(path, ...)
        if closed() then
            return nil, ("%s(%s): refused in a plan"):format(name, tostring(path))
        end
        return write(path, ...)
    end
end

function io.open(path, mode)
    if mode and mode:find("[wa+]") and closed() then
        return nil, ("io.open(%s): refused in a plan"):format(tostring(path))
    end
    return open(path, mode)
end
io.output = guarded("io.output", io.output)
os.remove = guarded("os.remove", os.remove)
os.rename = guarded("os.rename", os.rename)
os.tmpname = nil

-- Native code of others would know nothing of secrets, plans and the loop.
local load_native = table.remove(package.loaders)
rawset(package, "loadlib", nil)
rawset(package, "cpath", nil)
rawset(jit, "on", function()
    error("the LuaJIT compiler stays off: see host/vm.c", 2)
end)

-- source.dir / "fly.toml": paths are joined as they are read. Two numerals would divide.
getmetatable("").__div = function(left, right)
    return path_of.join(left, right)
end

---Makes undefined globals errors, and new ones too.
function M.strict()
    setmetatable(_G, {
        __index = function(_, name)
            error(("undefined global '%s'"):format(tostring(name)), 2)
        end,
        __newindex = function(_, name)
            error(("'%s' is not declared local"):format(tostring(name)), 2)
        end,
    })
end

---The global `arg`, as `lua` sets it: the script at 0, its arguments from 1.
---@param script string
---@param arguments string[]
function M.set_arg(script, arguments)
    local arg = { [0] = script }
    for i, argument in ipairs(arguments) do
        arg[i] = argument
    end
    rawset(_G, "arg", arg)
end

---For libraries that test for globals or are native code, such as test frameworks.
function M.relax()
    setmetatable(_G, nil)
    table.insert(package.loaders, load_native)
    M.relax = function() end
end

M.strict()

return M
