-- The project's repository, as far as status looks into it.
local check = require "dgrun.check"
local err = require "dgrun.err"
local git = require "dgrun.git"
local host = require "host.git"
local task = require "dgrun.task"

local M = {}

---@class dgrun.status.repository
---@field dir string
---@field info fun(): {git_dir: string, shallow: boolean}
---@field branch fun(): {commit: string, name: string} what is compared with: the remote's, if any
---@field branch_files fun(): string folder with the files of that
---@field files fun(commit: string): string folder with the files of a commit

local REMOTE = "origin"

local function find_branch(dir, branch)
    local found = task.map({ ("refs/remotes/%s/%s"):format(REMOTE, branch), branch }, {},
        function(ref) return check(host.resolve { dir = dir, ref = ref, remote = REMOTE }) or false end)
    if found[1] then
        return { commit = found[1].commit, name = ("%s/%s"):format(REMOTE, branch) }
    elseif found[2] then
        return { commit = found[2].commit, name = branch }
    end
    err.raise { code = "git.unknown_ref", op = "status",
        msg = ("there is no branch %s here to compare with"):format(branch) }
end

---@param dir string a folder in it
---@param branch string
---@param start fun(name: string, f: function): function
---@return dgrun.status.repository
function M.open(dir, branch, start)
    local self = { dir = dir }
    self.info = start("repository", function() return check(host.info { dir = dir }) end)
    self.branch = start("branch", function()
        check(host.check_ref(branch, "status"))
        return find_branch(dir, branch)
    end)
    function self.files(commit)
        return git.files { commit = commit, git_dir = self.info().git_dir }
    end
    self.branch_files = start("files of the branch", function()
        return self.files(self.branch().commit)
    end)
    return self
end

return M
