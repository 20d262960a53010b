-- flyctl's answers in tests/fixtures/fly, and how they are compared with dgrun's.
local fs = require "host.fs"
local json = require "dgrun.core.json"
local path = require "dgrun.core.path"

local M = {}

M.dir = path.dirname(debug.getinfo(1, "S").source:sub(2)) / "../fixtures/fly"

---@param name string of a file of the fixtures
---@return string
function M.read(name)
    return assert(fs.read(M.dir / name, { limit = 16 * 1024 * 1024 }))
end

---@param name string of a file with one case a line
---@return table[]
function M.cases(name)
    local list = {}
    for line in M.read(name):gmatch "[^\n]+" do
        list[#list + 1] = json.decode(line)
    end
    return list
end

local function is_empty(value)
    return value == "" or value == 0 or value == false or value == json.null
        or (type(value) == "table" and next(value) == nil)
end

---As a Go program reads what another one wrote: empty values are the same as absent ones; the order
---of headers does not count; what tells which program deployed is left out, and so is tcp, which
---dgrun says for a service without a protocol.
---@param value any
---@return any
function M.normal(value)
    if type(value) ~= "table" then
        return value
    end
    local result = {}
    for name, item in pairs(value) do
        item = M.normal(item)
        if type(name) == "number" or not is_empty(item) then
            result[name] = item
        end
    end
    if type(result.headers) == "table" and result.headers[1] then
        table.sort(result.headers, function(a, b) return (a.name or "") < (b.name or "") end)
    end
    for _, service in ipairs(type(result.services) == "table" and result.services or {}) do
        service.protocol = service.protocol or "tcp"
    end
    for name in pairs(type(result.metadata) == "table" and result.metadata or {}) do
        if name:find "^dgrun_" or name == "fly_flyctl_version" then
            result.metadata[name] = nil
        end
    end
    return result
end

return M
