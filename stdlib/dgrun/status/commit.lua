-- The deployed commit: its subject, author, and age, and how far the branch is ahead of it.
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local host = require "host.git"
local json = require "dgrun.core.json"
local repository_of = require "dgrun.status.repository"
local shared = require "dgrun.status.shared"
local task = require "dgrun.core.task"

local M = {}

local LISTED = 100

---@class dgrun.status.commit
---@field commit string
---@field machines integer how many machines run it
---@field unknown? string why nothing else is known about the commit
---@field subject? string
---@field author? string
---@field time? integer unix seconds
---@field age? number seconds
---@field base? string the branch it is compared with: "origin/main"
---@field behind? integer commits on the base that the commit does not contain
---@field ahead? integer commits that the base does not contain
---@field behind_for? number seconds since the branch first had a commit that is not deployed, or 0
---@field behind_unknown? string why the distance is unknown
---@field commits? {commit: string, subject: string, author: string, time: integer}[] the newest
---  commits on the base that are not deployed

---@class dgrun.status.deployed: dgrun.status.commit the commit that most machines run
---@field others dgrun.status.commit[] other commits that machines run
---@field unsaid integer machines that do not report a commit

local function why_unknown(repository, e)
    if not err.is(e, "git.unknown_ref") then
        return e.msg
    end
    local info = shared.attempt(repository.info)
    if not repository.has_remote() then
        return "the commit is not in this repository, which has no remote"
    end
    return info and info.shallow
        and "the commit is not in this shallow clone; run git fetch --unshallow"
        or "the commit is not in this repository; run git fetch"
end

local function listed(commits)
    local list = json.array {}
    for i = 1, math.min(#commits, LISTED) do
        local commit = commits[i]
        list[i] = { commit = commit.commit, subject = commit.subject, author = commit.author,
            time = commit.time }
    end
    return list
end

---The commit as git knows it, or nil.
local function look_up(repository, one)
    local list, e = host.log { dir = repository.dir, to = one.commit, limit = 1 }
    if list then
        return list[1]
    end
    one.unknown = why_unknown(repository, e)
end

---For how long the deployed commit has been behind: since the oldest missing commit on the branch
---itself. Commits that a merge brought count from the merge.
local function lag(repository, target, branch, one)
    if one.behind == 0 then
        one.behind_for = 0
    elseif one.behind then
        local list, e = host.log { dir = repository.dir, from = one.commit, to = branch.commit,
            first_parent = true }
        if list and list[1] then
            one.behind_for = math.max(0, target.now - list[#list].time)
        else
            one.behind_unknown = e and e.msg or "git does not list the missing commits"
        end
    end
end

---Asks git to compare, when the recent commits of the branch are not enough.
local function count(repository, branch, one)
    task.all {
        function()
            local found, e = host.count { dir = repository.dir, from = branch.commit,
                to = one.commit }
            one.behind, one.ahead = found and found.behind, found and found.ahead
            one.behind_unknown = e and e.msg
        end,
        function()
            one.commits = listed(host.log { dir = repository.dir, from = one.commit,
                to = branch.commit, limit = LISTED } or {})
        end,
    }
end

local function compare(target, one, recent)
    local repository = target.repository
    local branch, e = shared.attempt(repository.branch)
    if not branch then
        one.behind_unknown = e.msg
        return
    end
    one.base = branch.name
    local newer = recent and repository_of.newer(recent, one.commit)
    local info = not newer and shared.attempt(repository.info)
    if newer then
        one.behind, one.ahead, one.commits = #newer, 0, listed(newer)
    elseif info and info.shallow then
        one.behind_unknown = repository.has_remote()
            and "the clone is shallow; run git fetch --unshallow"
            or "the clone is shallow and has no remote"
    else
        count(repository, branch, one)
    end
    lag(repository, target, branch, one)
end

---Fills in what the repository knows about a commit.
local function describe(target, one)
    local repository = target.repository
    local recent = shared.attempt(repository.recent)
    local found = recent and recent.by_commit[one.commit] or look_up(repository, one)
    if found then
        one.subject, one.author, one.time = found.subject, found.author, found.time
        one.age = math.max(0, target.now - found.time)
        compare(target, one, recent)
    else
        one.behind_unknown = one.unknown
    end
end

local function problems_of(all, unsaid)
    local list = {}
    if #all > 1 or #all == 1 and unsaid > 0 then
        local parts = {}
        for i, one in ipairs(all) do
            parts[i] = ("%d %s %s"):format(one.machines, one.machines == 1 and "runs" or "run",
                one.commit:sub(1, 12))
        end
        if unsaid > 0 then
            parts[#parts + 1] = ("%d %s no commit"):format(unsaid,
                unsaid == 1 and "reports" or "report")
        end
        list[1] = "its machines differ: " .. format.list(parts)
    end
    return list
end

---@param target dgrun.status.target
---@return dgrun.status.deployed? # nil when nothing is deployed
---@return string[]? problems
function M.commit(target)
    local all, unsaid = shared.running(target.machines(), target.commit_of)
    if #all == 0 and unsaid == 0 then
        return nil, { "nothing is deployed" }
    elseif #all == 0 then
        err.raise { code = "status.commit_unsaid", op = "status",
            msg = ("its %s not report a commit: dgrun did not deploy the running "
                .. "version"):format(format.count(unsaid, "machine does", "machines do")) }
    end
    task.map(all, {}, function(one) describe(target, one) end)
    local facts = { unsaid = unsaid, others = json.array { unpack(all, 2) } }
    for name, value in pairs(all[1]) do
        facts[name] = value
    end
    return facts, problems_of(all, unsaid)
end

return M
