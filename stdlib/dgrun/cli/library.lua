-- scripts/lib/: modules that the scripts of a project share. `require "x"` loads scripts/lib/x.lua,
-- unless dgrun has a module named x.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local tables = require "dgrun.core.table"

local M = {}

local MARK = "\n--[[ %s ]]\n"
local LIMIT = 8 * 1024 * 1024

local modules = {} ---@type table<string, {path: string, text: string}> by name
local installed = false

local function find(name)
    local module = modules[name]
    if not module then
        return ("\n\tno file 'scripts/lib/%s.lua'"):format(name)
    end
    local chunk, reason = loadstring(module.text, "@" .. module.path)
    if not chunk then
        local where, msg = reason:match("^(.-:%d+): (.*)$")
        err.raise { code = "script.syntax", where = where, msg = reason,
            hint = msg and "Fix the syntax error there." }
    end
    return chunk
end

---@return string[] # the texts of the known modules
function M.texts()
    local list = {}
    for _, module in pairs(modules) do
        list[#list + 1] = module.text
    end
    return list
end

---Makes the modules of a project available to `require`. Reads all files here, because `require`
---cannot wait.
---@param root string
function M.use(root)
    modules = {}
    local folder = root / "scripts/lib"
    for _, file in ipairs(fs.list(folder) or {}) do
        local name = file:match("^([%w_-]+)%.lua$")
        local text = name and check(fs.read(folder / file, { limit = LIMIT }))
        if text then
            modules[name] = { path = "scripts/lib/" .. file, text = text }
        end
    end
    if not installed then
        installed = true
        table.insert(package.loaders, find)
    end
end

---The text of a script and of all modules that it may use, which `dgrun resume` compares.
---@param text string
---@return string
function M.with_modules(text)
    local parts = { text }
    for _, name in ipairs(tables.keys(modules)) do
        parts[#parts + 1] = MARK:format(modules[name].path) .. modules[name].text
    end
    return table.concat(parts)
end

---Splits such a text.
---@param text string
---@return string # of the script
---@return table<string, string> # modules by path
function M.split(text)
    local found, at, path = {}, 1, nil
    local script
    while true do
        local from, to, next_path = text:find("\n%-%-%[%[ (scripts/lib/[%w_-]+%.lua) %]%]\n", at)
        local part = text:sub(at, (from or #text + 1) - 1)
        if path then
            found[path] = part
        else
            script = part
        end
        if not from then
            return script, found
        end
        at, path = to + 1, next_path
    end
end

return M
