-- The application's own Python: where its packages are.
local fs = require "host.fs"

local M = {}

---@param name string
---@return string? # the first of this name in PATH
function M.on_path(name)
    for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
        if fs.exists(folder / name) then
            return folder / name
        end
    end
end

---The interpreter of a console script, by its first line; nil where that is no Python.
---@param script string
---@return string?
function M.interpreter_of(script)
    local text = fs.read(script, { limit = 1024 * 1024 }) or ""
    local line = text:match("^#!%s*(%S*python[%d.]*)%s*\n")
    return line and fs.exists(line) and line or nil
end

---How a program of the application is run, in this order: its .venv, uv, poetry.
---@param dir string of the application
---@param program string "python", "alembic"
---@return string[]? # its command line; nil where the application has none of its own
function M.own(dir, program)
    local installed = dir / ".venv/bin" / program
    if fs.exists(installed) then
        return { installed }
    elseif fs.exists(dir / "uv.lock") and M.on_path "uv" then
        return { "uv", "run", "--frozen", program }
    elseif fs.exists(dir / "poetry.lock") and M.on_path "poetry" then
        return { "poetry", "run", program }
    end
end

---The interpreter that runs a program which `own` found.
---@param argv string[]
---@return string[]
function M.beside(argv)
    local result = { unpack(argv) }
    result[#result] = result[#result]:gsub("[^/]*$", "python", 1)
    return result
end

---The interpreter of an application: its own, that of the alembic in PATH, python3 in PATH.
---@param dir string
---@return string[]? # its command line
function M.find(dir)
    local own = M.own(dir, "python")
    if own then
        return own
    end
    local alembic = M.on_path "alembic"
    local found = alembic and M.interpreter_of(alembic) or M.on_path "python3"
    return found and { found }
end

---Where an interpreter's packages are, by the layouts of virtual environments and of Debian.
local function package_folders(interpreter)
    local prefix = interpreter:match "^(.*)/bin/[^/]+$"
    local folders = {}
    for _, lib in ipairs(prefix and { prefix / "lib", prefix / "local/lib" } or {}) do
        for _, name in ipairs(fs.list(lib) or {}) do
            if name:match "^python3" then
                table.insert(folders, lib / name / "site-packages")
                table.insert(folders, lib / name / "dist-packages")
            end
        end
    end
    return folders
end

---The version of a package that the interpreter of an application has, by the files of its
---installation: no process is started. nil where they do not say.
---@param dir string
---@param package string "alembic"
---@return string? # "1.13.2"
function M.version_of(dir, package)
    local argv = M.find(dir)
    for _, folder in ipairs(argv and #argv == 1 and package_folders(argv[1]) or {}) do
        for _, name in ipairs(fs.list(folder) or {}) do
            local version = name:match("^" .. package .. "%-(%d[%w.]*)%.dist%-info$")
                or name:match("^" .. package .. "%-(%d[%w.]*)%.egg%-info$")
            if version then
                return version
            end
        end
    end
end

return M
