-- What every chunk finds in its globals, set once when the state opens: output goes through the
-- redactor, nothing stops the loop, a plan cannot write, an undefined name is an error.
local log = require "host.log"
local gate = require "host.gate"

local M = {}

local function joined(...)
    local parts = {}
    for i = 1, select("#", ...) do
        parts[i] = tostring((select(i, ...)))
    end
    return parts
end

function print(...)
    log.out(table.concat(joined(...), "\t") .. "\n")
end

---A stand-in for io.stdout and io.stderr that writes through the redactor.
local function stream(write)
    local S = {}
    function S.write(self, ...)
        write(table.concat(joined(...)))
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
io.stdout = stream(log.out)
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
        if gate.closed() then
            return nil, ("%s(%s): refused, this is a plan"):format(name, tostring(path))
        end
        return write(path, ...)
    end
end

function io.open(path, mode)
    if mode and mode:find("[wa+]") and gate.closed() then
        return nil, ("io.open(%s): refused, this is a plan"):format(tostring(path))
    end
    return open(path, mode)
end
io.output = guarded("io.output", io.output)
os.remove = guarded("os.remove", os.remove)
os.rename = guarded("os.rename", os.rename)
os.tmpname = nil

-- source.dir / "fly.toml": paths are joined as they are read. Two numerals would divide.
getmetatable("").__div = function(left, right)
    return require("dgrun.path").join(left, right)
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

---For libraries that test for globals, such as test frameworks.
function M.relax()
    setmetatable(_G, nil)
end

M.strict()

return M
