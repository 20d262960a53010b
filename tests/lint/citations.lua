-- Fails where a comment or a Markdown file cites a Markdown file, or a section of one, that does
-- not exist, and where a Markdown file names a source file that does not exist:
--   dgrun tests/lint/citations.lua
-- A path is relative to the top of the repository or to the folder of the file that cites it. In a
-- Markdown file, a section without a path is one of that file.
local fs = require "host.fs"

local FOLDERS = { ".github", "docs", "host", "scripts", "stdlib", "tests" }
-- Applications, with files of their own.
local SKIPPED = { ["tests/fixtures"] = true }

local function read(path)
    return assert(fs.read(path, { limit = 4 * 1024 * 1024 }))
end

local function collect(folder, files)
    for _, name in ipairs(assert(fs.list(folder))) do
        local path = folder == "." and name or folder / name
        local kind = fs.stat(path).type
        if kind == "file" then
            files[#files + 1] = path
        elseif kind == "directory" and folder ~= "." and not SKIPPED[path] then
            collect(path, files)
        end
    end
end

local line_comments = {
    lua = { "^%s*%-%-+(.*)$", "%s%-%-%s(.*)$" },
    hash = { "^%s*#+(.*)$", "%s#%s(.*)$" },
}
local kinds = { lua = "lua", py = "hash", sh = "hash", yml = "hash", txt = "hash", [""] = "hash" }

---The comments of a file, a line for each of its lines; all of a Markdown file.
local function comments(path, text)
    local suffix = path:match "%.(%w+)$" or ""
    if suffix == "md" then
        return text
    elseif suffix == "c" or suffix == "h" or suffix == "cpp" then
        local result, at = {}, 1
        for from, to in text:gmatch "()/%*.-%*/()" do
            result[#result + 1] = text:sub(at, from - 1):gsub("[^\n]+", " ")
                .. text:sub(from, to - 1)
            at = to
        end
        return table.concat(result)
    end
    local patterns = line_comments[kinds[suffix]]
    if not patterns then
        return ""
    end
    local lines = {}
    for line in (text .. "\n"):gmatch "(.-)\n" do
        lines[#lines + 1] = line:match(patterns[1]) or line:match(patterns[2]) or ""
    end
    return table.concat(lines, "\n")
end

local sections_of = {}

---The numbers of a Markdown file's headings.
local function sections(path)
    if not sections_of[path] then
        sections_of[path] = {}
        for number in ("\n" .. read(path)):gmatch "\n#+ (%d[%d.]*)" do
            sections_of[path][number:gsub("%.$", "")] = true
        end
    end
    return sections_of[path]
end

---The file that is cited as `target` in the file `path`.
---@return string? # its path, when it exists
local function resolve(path, target)
    local folder = path:match "^(.*)/"
    for _, candidate in ipairs { folder and folder / target or target, target } do
        local flat = candidate
        repeat
            local count
            flat, count = flat:gsub("[^/]+/%.%./", "", 1)
        until count == 0
        if fs.exists(flat) then
            return flat
        end
    end
end

---The numbers of "sections 2, 4 and 6" or "sections 2.7 to 2.9".
---@param at integer? where the first one begins
---@return string[]
local function numbers(text, at)
    local found = {}
    while at do
        local number, after = text:match("^(%d[%d.]*)()", at)
        found[#found + 1] = number:gsub("%.$", "")
        at = text:match("^,%s+()%f[%d]", after) or text:match("^,?%s+and%s+()%f[%d]", after)
            or text:match("^%s+to%s+()%f[%d]", after)
    end
    return found
end

local problems = {}

local function report(path, text, at, message)
    local _, line = text:sub(1, at):gsub("\n", "")
    problems[#problems + 1] = ("%s:%d: %s"):format(path, line + 1, message)
end

---`host/base/buf.c`, or `run/lock.lua` of the library. Files in `scripts/` may be the reader's own.
local function check_sources(path, text)
    for at, target in text:gmatch "()`([%l_]+/[%w_/.-]*%.[%l]+)`" do
        local suffix = target:match "%.(%l+)$"
        local is_source = suffix == "lua" or suffix == "c" or suffix == "h" or suffix == "sh"
        if is_source and not target:find "^scripts/" and not resolve(path, target)
            and not fs.exists("stdlib/dgrun/" .. target) then
            report(path, text, at, ("%s does not exist"):format(target))
        end
    end
end

local function check(path, text)
    if path:find "%.md$" then
        check_sources(path, text)
    end
    for at, target in text:gmatch "()([%w_./-]+%.md)%f[^%w_]" do
        if not resolve(path, target) then
            report(path, text, at, ("%s does not exist"):format(target))
        end
    end
    for at, list_at in text:gmatch "()%f[%a]sections?%s+()%f[%d]" do
        local target = text:sub(math.max(1, at - 200), at - 1):match "([%w_./-]+%.md)[%])`,]*%s*$"
        local file = target and resolve(path, target)
        if not target and path:find "%.md$" then
            file = path
        end
        for _, number in ipairs(file and numbers(text, list_at) or {}) do
            if not sections(file)[number] then
                report(path, text, at, ("%s has no section %s"):format(file, number))
            end
        end
    end
end

local files = {}
collect(".", files)
for _, folder in ipairs(FOLDERS) do
    if fs.exists(folder) then
        collect(folder, files)
    end
end
for _, path in ipairs(files) do
    check(path, comments(path, read(path)))
end
if #problems > 0 then
    require("dgrun.core.err").raise { code = "lint.citations", msg = table.concat(problems, "\n") }
end
