-- The files of an image: what COPY brings from the context, each at its place in the image.
local dockerignore = require "sandbox.dockerignore"
local path_of = require "dgrun.core.path"

local M = {}

local function clean(source)
    return (source:gsub("^/+", ""):gsub("^%./+", ""):gsub("/+%.?$", ""):gsub("^%.$", ""))
end

---The files that a source of COPY names, each with its path below the target.
---@return {path: string, below: string}[]
---@return boolean is_file it names a single file
local function files_of(source, context)
    local found = {}
    local name = clean(source)
    if name == "" then
        for i, path in ipairs(context) do
            found[i] = { path = path, below = path }
        end
        return found, false
    end
    local pattern, is_file = dockerignore.compile(name), true
    for _, path in ipairs(context) do
        local matched, all = dockerignore.match(pattern, path)
        if matched == all then
            found[#found + 1] = { path = path, below = path_of.basename(path) }
        elseif matched then
            -- The content of a folder is copied, not the folder.
            local below = path
            for _ = 1, matched do
                below = below:gsub("^[^/]+/", "")
            end
            found[#found + 1] = { path = path, below = below }
            is_file = false
        end
    end
    return found, is_file and #found == 1
end

---@class sandbox.image_files
---@field files table<string, string> path in the image → path in the context
---@field texts table<string, string> path in the image → content, of here-documents
---@field foreign table<string, string> path in the image → stage or image that it comes from

---@param recipe sandbox.dockerfile.recipe
---@param context string[] files that .dockerignore does not leave out
---@return sandbox.image_files?
---@return string? missing a source that names no file
function M.of(recipe, context)
    local image = { files = {}, texts = {}, foreign = {} }
    local folders = { ["/"] = true, [recipe.workdir] = true }

    local function put(kind, target, value)
        image.files[target], image.texts[target] = nil, nil
        image[kind][target] = value
        local folder = path_of.dirname(target)
        while not folders[folder] do
            folders[folder] = true
            folder = path_of.dirname(folder)
        end
    end

    local function bring(copy, source)
        local found, is_file = files_of(source, context)
        if #found == 0 and clean(source) ~= "" and not source:match("^%a+://")
            and not source:match("^git@") then
            return source
        end
        local to = copy.to:gsub("(.)/$", "%1")
        local is_name = is_file and copy.to:sub(-1) ~= "/" and not folders[to]
            and #copy.sources == 1
        for _, file in ipairs(found) do
            put("files", is_name and to or path_of.join(to, file.below), file.path)
        end
    end

    for _, copy in ipairs(recipe.copies) do
        local to = copy.to:gsub("(.)/$", "%1")
        for _, source in ipairs(copy.sources) do
            if copy.from then
                local is_folder = copy.to:sub(-1) == "/" or folders[to]
                local base = path_of.basename(source)
                local is_same = base == path_of.basename(to)
                image.foreign[to] = copy.from
                if is_folder and not is_same then
                    image.foreign[path_of.join(to, base)] = copy.from
                end
            else
                local missing = bring(copy, source)
                if missing then
                    return nil, missing
                end
            end
        end
        for _, text in ipairs(copy.texts or {}) do
            put("texts", to, text)
        end
    end
    return image
end

return M
