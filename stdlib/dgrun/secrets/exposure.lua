-- Files with plain secrets that others can read, or that git has or would take.
local execute = require "dgrun.run.context"
local fs = require "host.fs"
local host = require "host.git"
local path = require "dgrun.core.path"
local source = require "dgrun.project.source"

local M = {}

-- Of the bits of a mode, those of the group and of all others.
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
    -- nil also where there is no repository.
    local tracking = host.tracking { dir = path.dirname(file), path = path.basename(file) }
    if tracking == "tracked" then
        texts[#texts + 1] = ("git tracks %s: run git rm --cached %s, add a line /%s to .gitignore, "
            .. "and change the secrets where they were pushed"):format(label, label, label)
    elseif tracking == "untracked" then
        texts[#texts + 1] = ("git does not ignore %s: add a line /%s to .gitignore"):format(label,
            label)
    end
    return texts
end

---What is wrong with the dotenv files of an environment, each with the fix.
---@param entry table of an environment
---@return string[]
function M.of(entry)
    local list, seen = {}, {}
    for _, one in ipairs(entry.secrets.sources) do
        if one.kind == "dotenv" and not seen[one.file] then
            seen[one.file] = true
            for _, text in ipairs(of_file(source.place(entry.root, one.file), one.file)) do
                list[#list + 1] = text
            end
        end
    end
    return list
end

local told = setmetatable({}, { __mode = "k" })

---The same, without what was told in this run.
---@param entry table of an environment
---@return string[]
function M.untold(entry)
    local run = execute.current()
    local seen, list = run and told[run] or {}, {}
    for _, text in ipairs(M.of(entry)) do
        list[#list + 1] = not seen[text] and text or nil
        seen[text] = true
    end
    if run then
        told[run] = seen
    end
    return list
end

return M
