-- The command of an image as one of this machine. The files of the image are in a folder, its
-- virtual environment is the project's own, and every other program is the one in PATH.
local dockerfile = require "sandbox.dockerfile"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local path_of = require "dgrun.core.path"
local proc = require "host.proc"

local M = {}

---@class sandbox.image_command.image
---@field root string folder of the image's files
---@field workdir string
---@field env table<string, string>
---@field foreign table<string, string> what COPY takes from another stage
---@field venv? string the project's own virtual environment

---The folder of a virtual environment, given by its path or by that of an interpreter in it.
---@param path string
---@return string?
function M.venv_of(path)
    local stat, bin = fs.stat(path), path_of.dirname(path)
    local is_interpreter = stat and stat.type ~= "directory" and path_of.basename(bin) == "bin"
    local dir = is_interpreter and path_of.dirname(bin) or path
    if fs.exists(dir / "bin/python") or fs.exists(dir / "bin/python3") then
        return fs.real(dir)
    end
end

---Where the project's own virtual environment may be: beside the Dockerfile, at the top.
---@param project string
---@param folder string of the Dockerfile, relative to the top
---@return string?
function M.venv(project, folder)
    for _, dir in ipairs { path_of.join(project, folder), project } do
        local venv = M.venv_of(dir / ".venv")
        if venv then
            return venv
        end
    end
end

---A path of the image as a path here; nil where the image's folder does not have it.
local function in_root(image, path)
    if path:match("^/+$") then
        return nil
    end
    local here = image.root .. dockerfile.absolute(path, image.workdir)
    return fs.exists(here) and here or nil
end

---The folder of a virtual environment that a path of the image is in.
local function image_venv(image, path)
    for place in pairs(image.foreign) do
        if place:match("venv$") and path:sub(1, #place + 1) == place .. "/" then
            return place
        end
    end
    return path:match("^(/.-%.?venv)/bin/")
end

local function is_program(path)
    local stat = fs.stat(path)
    return stat ~= nil and stat.type ~= "directory"
end

---@return string[] # folders of this machine, in the order of the image's PATH, then of ours
local function path_folders(image)
    local folders = { image.venv and image.venv / "bin" }
    for folder in (image.env.PATH or ""):gmatch("[^:]+") do
        folders[#folders + 1] = in_root(image, folder)
    end
    for folder in (os.getenv "PATH" or "/usr/bin:/bin"):gmatch("[^:]+") do
        folders[#folders + 1] = folder
    end
    return folders
end

local function find_in_path(image, name)
    for _, folder in ipairs(path_folders(image)) do
        if is_program(folder / name) then
            return folder / name
        end
    end
end

local function find_python(image)
    local own = image.venv and image.venv / "bin/python3"
    if own and fs.exists(own) then
        return own
    end
    return fs.exists("/usr/bin/python3") and "/usr/bin/python3" or find_in_path(image, "python3")
end

local HAS_MAIN = "import importlib.util as u, sys; n = sys.argv[1]\n"
    .. "sys.exit(not (u.find_spec(n) and u.find_spec(n + '.__main__')))"

---A program of a virtual environment that here is only a module of Python: python3 -m uvicorn.
local function as_module(image, name)
    local python = name:match("^[%a_][%w_]*$") and find_python(image)
    if not python then
        return nil
    end
    local result = proc.run { argv = { python, "-I", "-c", HAS_MAIN, name }, timeout = 10 }
    return result and result.status == 0 and { python, "-m", name } or nil
end

local function not_found(image, word)
    local name = path_of.basename(word)
    local from = image.foreign[word]
    local e = err.new {
        code = "proc.not_found", op = "sandbox.start", program = word,
        msg = ("the local Fly runs the image's command on this machine; `%s` is not in PATH or in "
            .. ".venv"):format(name),
        hint = ("Install %s, or make a virtual environment with it in .venv beside the "
            .. "Dockerfile."):format(name),
    }
    if from and not image_venv(image, word .. "/") then
        e.msg = ("the local Fly executes no RUN and builds no stage; the image takes %s from %s")
            :format(word, from)
        e.hint = ("COPY %s from the build context instead, or put it into PATH."):format(name)
    end
    return e
end

---@return string[]? # one program, or a program and the words that stand before its arguments
---@return dgrun.err?
local function locate(image, word)
    local name = path_of.basename(word)
    local has_folder = word:find("/", 1, true) ~= nil
    local own = has_folder and in_root(image, word)
    if own then
        return { own }
    end
    local place = has_folder and image_venv(image, word)
    local is_python = name == "python" or name == "python3"
    if is_python and (not has_folder or place or not fs.exists(word)) then
        return { find_python(image) or name }
    elseif has_folder and not place and is_program(word) then
        return { word }
    end
    local found = find_in_path(image, name)
    local module = not found and (place or not has_folder) and as_module(image, name)
    if not found and not module then
        return nil, not_found(image, word)
    end
    return module or { found }
end

---The text of a shell command: the programs of the image's virtual environment become ours.
local function local_text(image, text)
    local bin = image.venv and image.venv / "bin/" or ""
    return (text:gsub("/[%w_./-]+", function(path)
        local place = image_venv(image, path)
        local name = place and path:sub(#place + 1):match("^/bin/([^/]+)$")
        if not name then
            return nil
        elseif bin == "" and name:match("^python3?$") then
            return find_python(image)
        end
        return bin ~= "" and fs.exists(bin .. name) and bin .. name or name
    end))
end

---@param image sandbox.image_command.image
---@param words string[]
---@return string[]? argv
---@return dgrun.err?
function M.argv(image, words)
    local argv, e = locate(image, words[1])
    if not argv then
        return nil, e
    end
    local is_shell = path_of.basename(words[1]):match("^%a*sh$") and words[2] == "-c"
    for i = 2, #words do
        local word = words[i]
        if is_shell and i == 3 then
            word = local_text(image, word)
        elseif word:sub(1, 1) == "/" then
            word = in_root(image, word) or word
        end
        argv[#argv + 1] = word
    end
    return argv
end

---A value that is a path of the image, or several with colons, as paths here.
local function local_value(image, value)
    if value:sub(1, 1) ~= "/" then
        return value
    end
    local parts = {}
    for part in (value .. ":"):gmatch("([^:]*):") do
        parts[#parts + 1] = part:sub(1, 1) == "/" and in_root(image, part) or part
    end
    return table.concat(parts, ":")
end

---@param image sandbox.image_command.image
---@param more table<string, string> of the machine's configuration
---@return table<string, string>
function M.environment(image, more)
    local env = { HOME = "/tmp", LANG = "C.UTF-8", PYTHONDONTWRITEBYTECODE = "1" }
    for _, values in ipairs { image.env, more } do
        for name, value in pairs(values) do
            env[name] = local_value(image, tostring(value))
        end
    end
    env.PATH = table.concat(path_folders(image), ":")
    if image.venv and env.VIRTUAL_ENV then
        env.VIRTUAL_ENV = image.venv
    end
    return env
end

---The folder that the command runs in.
---@param image sandbox.image_command.image
function M.folder(image)
    return image.root .. image.workdir:gsub("^/$", "")
end

return M
