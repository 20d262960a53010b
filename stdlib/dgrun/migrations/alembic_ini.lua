-- alembic.ini, as Python's ConfigParser reads it: where the revision files are.
local fail = require("dgrun.migrations.revision_graph").fail
local fs = require "host.fs"

local M = {}

local FILE_LIMIT = 1024 * 1024

---The lines of an ini file: sections, and values with the lines that continue them.
local function parse_ini(text)
    local sections = {}
    local section, name
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        local title = line:match("^%[([^%]]+)%]")
        local key, value = line:match("^([^%s#;=:][^=:]-)%s*[=:]%s*(.-)%s*$")
        local more = line:match("^%s+([^%s#;].-)%s*$")
        if title then
            section = sections[title] or {}
            sections[title], name = section, nil
        elseif key and section then
            name = key:lower()
            section[name] = value
        elseif more and name then
            section[name] = section[name] .. "\n" .. more
        end
    end
    return sections
end

---The settings of [alembic] in alembic.ini, as Python's ConfigParser reads them.
local function read_ini(dir)
    local path = dir / "alembic.ini"
    local text = fs.read(path, { limit = FILE_LIMIT })
    if not text then
        fail("no_alembic_ini", ("no alembic.ini in %s"):format(dir),
            "Set `dir` to the application folder that contains alembic.ini.")
    end
    local sections = parse_ini(text)
    local raw = setmetatable(sections.alembic or {}, { __index = sections.DEFAULT })
    local settings = {}
    local function expand(value)
        local expanded = value:gsub("%%%%", "\1"):gsub("%%%(([%w_]+)%)s", function(name)
            name = name:lower()
            return name == "here" and dir or raw[name] and expand(raw[name])
                or fail("unreadable_ini", ("%s: %%(%s)s is not set"):format(path, name))
        end):gsub("\1", "%%")
        return expanded
    end
    for _, name in ipairs { "script_location", "version_locations", "version_path_separator",
        "path_separator", "sourceless", "recursive_version_locations" } do
        settings[name] = raw[name] and expand(raw[name])
    end
    settings.url = raw["sqlalchemy.url"]
    return settings
end

local separators = { os = ":", space = "%s", newline = "\n", [":"] = ":", [";"] = ";" }

---What cannot be told without Python is refused, never guessed.
local function check_settings(settings, path)
    if (settings.script_location or "") == "" then
        fail("no_script_location", path .. " has no script_location")
    end
    for _, name in ipairs { "sourceless", "recursive_version_locations" } do
        if settings[name] and settings[name]:lower() ~= "false" then
            fail("unsupported_setting", ("%s: %s is not supported"):format(path, name))
        end
    end
end

---A folder relative to the application's.
local function folder_of(dir, location, path)
    if location:sub(1, 1) ~= "/" and location:find(":", 1, true) then
        fail("unsupported_setting", ("%s: %s is in a Python package, which is not supported")
            :format(path, location))
    end
    return dir / location
end

---The database of `sqlalchemy.url`, as far as the file names it.
---@param dir string folder with alembic.ini
---@return string # "sqlite"; "" when the file does not say
function M.dialect(dir)
    return (read_ini(dir).url or ""):match("^%s*(%a+)[+:]") or ""
end

---The folder with env.py.
---@param dir string folder with alembic.ini
---@return string
function M.script(dir)
    local path, settings = dir / "alembic.ini", read_ini(dir)
    check_settings(settings, path)
    return folder_of(dir, settings.script_location, path)
end

---The folders that hold revision files.
---@param dir string folder with alembic.ini
---@return string[]
function M.folders(dir)
    local path, settings = dir / "alembic.ini", read_ini(dir)
    check_settings(settings, path)
    local script = folder_of(dir, settings.script_location, path)
    local locations = settings.version_locations
    if not locations or locations == "" then
        if not fs.exists(script / "versions") then
            fail("no_versions", ("%s: script_location is %s, but the folder %s does not exist")
                :format(path, settings.script_location, script / "versions"),
                "Correct script_location in alembic.ini.")
        end
        return { script / "versions" }
    end
    local name = settings.path_separator or settings.version_path_separator
    local separator = name and separators[name] or "%s,"
    if name and not separators[name] then
        fail("unsupported_setting", ("%s: %s is not a path separator"):format(path, name))
    end
    local folders = {}
    for location in locations:gmatch("[^" .. separator .. "]+") do
        location = location:match("^%s*(.-)%s*$")
        local folder = location ~= "" and folder_of(dir, location, path)
        -- Alembic passes over those that are not there, and over the second of two that are one.
        local real = folder and fs.real(folder)
        if real and not folders[real] then
            folders[#folders + 1] = folder
            folders[real] = true
        end
    end
    return folders
end

return M
