-- The parts of the project's repository that status reads.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local git = require "dgrun.git"
local refs = require "dgrun.git_refs"
local host = require "host.git"
local host_task = require "host.task"

local M = {}

---@class dgrun.status.repository
---@field dir string
---@field info fun(): {git_dir: string, shallow: boolean}
---@field has_remote fun(): boolean whether the repository has a remote
---@field branch fun(): {commit: string, name: string} the branch to compare with
---@field recent fun(): dgrun.status.recent
---@field branch_files fun(): string folder with the files of the branch
---@field files fun(commit: string): string folder with the files of a commit
---@field close fun()

---@class dgrun.status.recent
---@field list dgrun.git.commit[] newest first
---@field by_commit table<string, dgrun.git.commit>
---@field shallow boolean the history is cut off

local REMOTE = "origin"
local RECENT = 300

local function find_branch(dir, branch)
    local remote = ("%s/%s"):format(REMOTE, branch)
    local found = check(host.resolve { dir = dir, ref = "refs/remotes/" .. remote,
        remote = REMOTE })
    if found then
        return { commit = found.commit, name = remote }
    end
    found = check(host.resolve { dir = dir, ref = branch, remote = REMOTE })
    if found then
        return { commit = found.commit, name = branch }
    end
    err.raise { code = "git.unknown_ref", op = "status",
        msg = ("status compares with the branch %s, which does not exist in this "
            .. "repository"):format(branch) }
end

---The newest commits of the branch, in a list and by id: most questions are about these commits and
---need no further git process.
local function read_recent(dir, branch)
    local recent = { list = check(host.log { dir = dir, to = branch.commit, limit = RECENT }),
        by_commit = {} }
    for _, commit in ipairs(recent.list) do
        recent.by_commit[commit.commit] = commit
    end
    return recent
end

---Marks a commit and its known ancestors.
local function mark(recent, commit, marked)
    local queue = { commit }
    while #queue > 0 do
        local one = recent.by_commit[table.remove(queue)]
        if one and not marked[one.commit] then
            marked[one.commit] = true
            for _, parent in ipairs(one.parents) do
                queue[#queue + 1] = parent
            end
        end
    end
end

---The commits of the branch that are not ancestors of a recent commit, newest first; nil when the
---recent commits are not enough to know.
---@param recent dgrun.status.recent
---@param commit string
---@return dgrun.git.commit[]?
function M.newer(recent, commit)
    if recent.list[1].commit == commit then
        return {}
    elseif not recent.by_commit[commit] or recent.shallow then
        return nil
    end
    local known, list = {}, {}
    mark(recent, commit, known)
    for _, one in ipairs(recent.list) do
        if not known[one.commit] then
            for _, parent in ipairs(one.parents) do
                if not recent.by_commit[parent] then
                    return nil
                end
            end
            list[#list + 1] = one
        end
    end
    return list
end

---@param dir string a folder in it
---@param branch string
---@param start fun(name: string, f: function): function
---@return dgrun.status.repository
function M.open(dir, branch, start)
    local self = { dir = dir }
    self.info = start("repository", function() return check(host.info { dir = dir }) end)
    function self.has_remote()
        return refs.has_remote(dir, REMOTE)
    end
    self.branch = start("branch", function()
        check(host.check_ref(branch, "status"))
        return find_branch(dir, branch)
    end)
    self.recent = start("recent commits", function()
        local recent = read_recent(dir, self.branch())
        recent.shallow = self.info().shallow
        return recent
    end)
    local exports = {}
    ---@param commit string
    function self.files(commit)
        exports[commit] = exports[commit] or host_task.spawn(function()
            return git.files { commit = commit, git_dir = self.info().git_dir }
        end, { name = "files of " .. commit })
        local ok, result = exports[commit]:join()
        return ok and result or err.raise(result)
    end
    function self.close()
        for _, export in pairs(exports) do
            export:cancel()
            export:join()
        end
    end
    self.branch_files = start("files of the branch", function()
        return self.files(self.branch().commit)
    end)
    return self
end

return M
