-- Files with plain secrets that other users can read, that git tracks, or that git does not ignore.
local execute = require "dgrun.run.context"
local fs = require "host.fs"
local host = require "host.git"
local path = require "dgrun.core.path"
local source = require "dgrun.project.source"

local M = {}

-- The mode bits of the group and of other users are below this value.
local OTHERS = 64

local function of_file(file, label)
    local texts = {}
    local stat = fs.stat(file)
    if not stat then
        return texts
    elseif stat.mode % OTHERS ~= 0 then
        texts[1] = ("other users of this computer can read %s (mode %03o): chmod 600 %s"):format(
            label, stat.mode % 512, label)
    end
    -- nil also when the folder is not in a repository.
    local tracking = host.tracking { dir = path.dirname(file), path = path.basename(file) }
    if tracking == "tracked" then
        texts[#texts + 1] = ("git tracks %s: run git rm --cached %s, add a line /%s to .gitignore, "
            .. "and rotate the secrets if they were pushed"):format(label, label, label)
    elseif tracking == "untracked" then
        texts[#texts + 1] = ("git does not ignore %s: add a line /%s to .gitignore"):format(label,
            label)
    end
    return texts
end

---Problems of an environment's dotenv files, each with the fix.
---@param entry table of an environment
---@return string[]
function M.of(entry)
    local list, seen = {}, {}
    for _, listed in ipairs(entry.secrets.sources) do
        local file = listed.file
        if listed.kind == "dotenv" and not seen[file] then
            seen[file] = true
            for _, text in ipairs(of_file(source.place(entry.root, file), file)) do
                list[#list + 1] = text
            end
        end
    end
    return list
end

local reported = setmetatable({}, { __mode = "k" })

---The same, without the problems that this run has already reported.
---@param entry table of an environment
---@return string[]
function M.unreported(entry)
    local run = execute.current()
    local seen, list = run and reported[run] or {}, {}
    for _, text in ipairs(M.of(entry)) do
        list[#list + 1] = not seen[text] and text or nil
        seen[text] = true
    end
    if run then
        reported[run] = seen
    end
    return list
end

return M
