-- Finds scripts: a path is a file; a name is a file in the nearest scripts/ here or in a parent
-- folder, or else a script that comes with dgrun.
local builtins = require "dgrun.cli.builtins"
local check = require "dgrun.core.check"
local embedded = require "scripts"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local library = require "dgrun.cli.library"
local opt = require "host.opt"
local path = require "dgrun.core.path"
local run = require "dgrun.run.context"
local tables = require "dgrun.core.table"

local M = {}

---The pattern of a script's name.
M.NAME = "^[a-z0-9_-]+$"

---@class dgrun.cli.script
---@field name string
---@field path string as shown to people
---@field folder string that holds it
---@field root string the project: the folder that holds scripts/
---@field text? string
---@field source? string its text, and the texts of the modules in scripts/lib/
---@field shipped? boolean comes with dgrun; the project has no script of this name
---@field chunk? function

---The nearest folder, here or above, that contains scripts/.
---@param from string
---@return string?
function M.project(from)
    local at = check(fs.absolute(from))
    while true do
        if fs.exists(at / "scripts/.") then
            return at
        elseif at == "/" then
            return nil
        end
        at = path.dirname(at)
    end
end

---The project of the working directory, or else the working directory.
---@return string
function M.root()
    return M.project(".") or fs.cwd()
end

---A path for people: relative to the working directory if it is below that.
local function shown(file)
    local here = fs.cwd() .. "/"
    return file:sub(1, #here) == here and file:sub(#here + 1) or file
end

---@param root string
---@return string[] # sorted names of the scripts
function M.names(root)
    local names = {}
    for _, file in ipairs(fs.list(root / "scripts") or {}) do
        names[#names + 1] = file:match("^([a-z0-9_-]+)%.lua$")
    end
    return names
end

---The texts of the scripts that come with dgrun, by name. With DGRUN_STDLIB, files in the scripts/
---folder next to it take precedence.
---@return table<string, string>
local function shipped_texts()
    local all, folder = embedded, os.getenv "DGRUN_STDLIB"
    if folder and folder ~= "" then
        for name in pairs(all) do
            all[name] = fs.read(folder / "../scripts" / (name .. ".lua")) or all[name]
        end
    end
    return all
end

---@return string[] # sorted names of the scripts that come with dgrun, such as `dgrun logs`
function M.shipped()
    return tables.keys(shipped_texts())
end

---@param root string? the project
---@return dgrun.cli.script?
local function shipped_script(name, root)
    local text = shipped_texts()[name]
    root = root or fs.cwd()
    return text and { name = name, path = name, folder = root / "scripts", root = root,
        text = text, shipped = true }
end

local function unknown_script(name, root)
    local nearest, hint
    if root then
        local known = M.names(root)
        for _, word in ipairs(builtins.names) do
            known[#known + 1] = word
        end
        for _, word in ipairs(M.shipped()) do
            known[#known + 1] = word
        end
        nearest = opt.nearest(name:gsub("-", "_"), known)
            or opt.nearest(name, known)
        hint = nearest and ("Did you mean %s?"):format(nearest) or "dgrun list lists all scripts."
    else
        hint = "No scripts/ folder here or in a parent folder. "
            .. "Run a file by its path: dgrun ./" .. name
            .. ".lua"
    end
    err.raise {
        code = "input.unknown_script",
        msg = ("no script or command '%s'"):format(name)
            .. (root and " in " .. shown(root / "scripts") or ""),
        hint = hint,
    }
end

local function by_path(word)
    local stat, e = fs.stat(word)
    if not stat then
        err.raise { code = "input.unknown_script", msg = ("cannot read the script %s: %s")
            :format(word, e.code == "fs.not_found" and "no such file" or e.msg) }
    elseif stat.type == "directory" then
        err.raise { code = "input.unknown_script", msg = word .. " is a folder, not a script" }
    end
    local folder = path.dirname(word)
    return {
        name = path.basename(word):gsub("%.lua$", ""), path = word, folder = folder,
        root = M.project(folder) or fs.cwd(),
    }
end

local function by_name(name)
    local root = M.project(".")
    if not name:match(M.NAME) then
        err.raise {
            code = "input.unknown_script",
            msg = ("'%s' is not a valid script name"):format(name),
            hint = "A name contains a-z, 0-9, _, and -; a path contains a / or ends in .lua.",
        }
    end
    local file = root and root / "scripts" / (name .. ".lua")
    if not file or not fs.exists(file) then
        return shipped_script(name, root) or unknown_script(name, root)
    end
    local real, within = check(fs.real(file)), check(fs.real(root / "scripts"))
    if real:sub(1, #within + 1) ~= within .. "/" then
        err.raise {
            code = "input.unknown_script",
            msg = ("%s is a link to a file outside scripts/: %s"):format(shown(file), real),
            hint = "Run it by its path: dgrun " .. real,
        }
    end
    return { name = name, path = shown(file), folder = root / "scripts", root = root }
end

---@param word string a name or a path
---@return dgrun.cli.script
function M.find(word)
    if word:find("/", 1, true) or word:match("%.lua$") then
        return by_path(word)
    end
    return by_name(word)
end

---Turns the parser's "file:3: message" into an error with a place.
local function syntax_error(reason)
    local where, msg = reason:match("^(.-:%d+): (.*)$")
    err.raise {
        code = "script.syntax", where = where or "?",
        msg = ("%s: %s"):format(where or "syntax error", msg or reason),
        hint = "Fix the syntax error there; nothing was run.",
    }
end

---Reads and compiles a script.
---@param script dgrun.cli.script
function M.load(script)
    local text = script.text
        or check(fs.read(script.path, { limit = 8 * 1024 * 1024 }))
    if text:sub(1, 2) == "#!" then
        text = "--" .. text
    end
    if text:sub(1, 1) == "\27" then
        err.raise { code = "script.syntax", msg = script.path .. " is bytecode, not a script" }
    end
    local chunk, reason = loadstring(text, "@" .. script.path)
    if not chunk then
        syntax_error(reason)
    end
    library.use(script.root)
    script.chunk, script.text, script.source = chunk, text, library.with_modules(text)
end

---@param text string of a script
---@return string # without its comments
local function code_of(text)
    return (text:gsub("%-%-%[(=*)%[.-%]%1%]", ""):gsub("%-%-[^\n]*", ""))
end

---Whether this script, or a module of the project, calls dg.preflight.
---@param script dgrun.cli.script
---@return boolean
function M.has_preflight(script)
    local source = code_of(script.text)
    for _, text in ipairs(library.texts()) do
        source = source .. code_of(text)
    end
    return source:find "%f[%w_]preflight%f[^%w_]" ~= nil
end

---Whether this script declares a pipeline or a command; running such a file only declares it. This
---is judged by the text, because running a plain script would have effects.
---@return boolean
function M.declares(script)
    local code = code_of(script.text)
    return code:find("%f[%w_]pipeline%s*[{(]") ~= nil
        or code:find("%f[%w_]dg%.command%s*[{(]") ~= nil
end

---Evaluates the declaration of a script, which can neither wait nor change anything.
---@param script dgrun.cli.script
---@param opts? {names_only?: boolean} do not look up secrets
---@return any # the script's result
function M.declaration(script, opts)
    environment.look_from(script.folder, opts)
    local ok, result = pcall(run.declaring, script.chunk)
    if not ok then
        if result.code == "lua.error" and result.msg:find("cannot wait", 1, true) then
            result.msg = "a pipeline declaration cannot wait"
            result.hint = "Move the call into run = function(input) … end."
        end
        -- `return dg.pipeline { … }` is a tail call, so its line is unknown.
        result.where = result.where or script.path
        error(result, 0)
    end
    return result
end

return M
