-- fly.toml files for tests.
local config = require "dgrun.fly.config"
local fs = require "host.fs"

local M = {}

---Loads a configuration of this text; more files may lie beside it.
---@param text string
---@param name? string "fly.toml"
---@param files? table<string, string>
---@return boolean ok
---@return any config or error
---@return string path
function M.load(text, name, files)
    local dir = assert(fs.temp_dir("config"))
    local path = dir / (name or "fly.toml")
    assert(fs.write(path, text))
    for other, content in pairs(files or {}) do
        assert(fs.write(dir / other, content))
    end
    local ok, result = pcall(config.load, path)
    local machines = {}
    for _, group in ipairs(ok and config.groups(result) or {}) do
        machines[group] = config.machine(result, group)
    end
    fs.remove(dir, { recursive = true })
    return ok, result, machines
end

---The machine configuration of a group.
function M.machine(text, group, files)
    local ok, result, machines = M.load(text, nil, files)
    assert(ok, tostring(result))
    return machines[group or "app"]
end

---The problems of a text, without the folder of its file.
---@return string[]
function M.problems(text, name)
    local ok, e = M.load(text, name)
    assert(not ok, "there is no problem in " .. text)
    assert(e.code == "fly.config", tostring(e.code) .. ": " .. tostring(e.msg))
    local list = {}
    for i, problem in ipairs(e.problems) do
        list[i] = problem:gsub("^.*/", "")
    end
    return list
end

---@return string[]
function M.warnings(text, name)
    local ok, result = M.load(text, name)
    assert(ok, tostring(result))
    local list = {}
    for i, warning in ipairs(result.warnings) do
        list[i] = warning:gsub("^.-(fly%.%a+:)", "%1")
    end
    return list
end

return M
