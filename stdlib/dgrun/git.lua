-- git for pipelines: questions are answered from the repository as it is; changes are effects.
-- A ref is looked for in this order: a full SHA, a tag, a branch, a branch of the remote, then
-- whatever git understands (HEAD~2, a short SHA, origin/main).
local check = require "dgrun.core.check"
local checkouts = require "dgrun.core.checkouts"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local execute = require "dgrun.run.context"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local git_write = require "dgrun.git_write"
local host = require "host.git"
local refs = require "dgrun.git_refs"
local replay = require "dgrun.run.replay"

local M = {}

---Seconds that a command which talks to a remote may take.
M.remote_timeout = 600

---@class dgrun.git.commit
---@field commit string full SHA
---@field parents string[]
---@field author string
---@field email string
---@field author_time integer
---@field committer string
---@field time integer unix seconds of the commit
---@field subject string one line

---@class dgrun.git.source
---@field commit string full SHA
---@field ref string what was asked for
---@field kind "tag"|"branch"|"remote_branch"|"commit"
---@field subject string
---@field author string
---@field time integer unix seconds of the commit
---@field dir string the folder with the commit's files

---The commit that a ref names.
---@param opts {ref: string, dir: string?, remote: string?}
---@return {commit: string, kind: string, name: string?, remote_commit: string?}
function M.resolve(opts)
    check.options(opts, { ref = "string", dir = "string?", remote = "string?" }, "git.resolve")
    return refs.resolve(opts.dir or ".", opts.ref, opts.remote or "origin", "git.resolve")
end

---A plan runs no filter of the repository, such as that of Git LFS.
local function know_filters(dir)
    if effect.planning() then
        check(host.know_filters { dir = dir })
    end
end

---A branch of the clone and the remote's branch of that name may be two things: say so.
local function note_difference(dir, ref, found, remote)
    local other = found.kind == "branch" and found.remote_commit
    if not other or other == found.commit then
        return
    end
    local count = check(host.count { dir = dir, from = other, to = found.commit })
    effect.note(("%s is the local branch: %s ahead of %s/%s, %d behind it"):format(
        ref, format.count(count.ahead, "commit"), remote, ref, count.behind))
end

---Changes that a checkout of the current branch leaves out.
local function note_uncommitted(dir, info, found)
    know_filters(dir)
    local status = not info.bare and host.status { dir = dir }
    if not status or not status.branch or status.commit ~= found.commit then
        return
    end
    local names = {}
    for _, file in ipairs(status.files) do
        names[#names + 1] = not file.untracked and file.path or nil
    end
    if #names > 0 then
        effect.note(("%s uncommitted changes, which are not part of the checkout: %s"):format(
            format.count(#names, "file has", "files have"),
            format.list { unpack(names, 1, 3) } .. (#names > 3 and ", …" or "")))
    end
end

---What an export cannot hold.
local function note_missing(into, git_dir)
    if fs.exists(into / ".gitmodules") then
        effect.note "submodules are not part of the checkout"
    end
    local attributes = fs.exists(into / ".gitattributes")
        and fs.read(into / ".gitattributes", { limit = 1048576 })
    if not attributes or not attributes:find("filter=", 1, true) then
        return
    elseif effect.planning() then
        effect.note "A plan runs no filter of .gitattributes: such files are as they are in git"
    elseif attributes:find("filter=lfs", 1, true)
        and not host.config { dir = git_dir, name = "filter.lfs.process" } then
        effect.note "Git LFS files are pointers in the checkout: git-lfs is not set up here"
    end
end

local exports = 0

---The commit's files in a folder of the run. It appears under its name when it is complete.
local function export(git_dir, commit)
    local run = execute.current()
    local parent = run and run.dir or check(fs.temp_dir("dgrun-git-"))
    local dest = parent / ("source-" .. commit:sub(1, 12))
    checkouts.add(dest, commit)
    if fs.exists(dest) then
        return dest
    end
    exports = exports + 1
    local partial = ("%s.%d.partial"):format(dest, exports)
    local index = partial .. ".index"
    fs.remove(partial, { recursive = true }) -- of an attempt that was killed
    fs.remove(index)
    fs.remove(index .. ".lock")
    know_filters(git_dir)
    check(fs.mkdir(partial))
    check(host.export { git_dir = git_dir, commit = commit, into = partial, index = index })
    fs.remove(index)
    local ok, e = fs.rename(partial, dest)
    if not ok then
        fs.remove(partial, { recursive = true })
        if not fs.exists(dest) then -- no other task made it meanwhile
            err.raise(e)
        end
    end
    return dest
end

---A commit's files in a folder of the run: made when they are first asked for.
---@param opts {commit: string, git_dir: string} commit: a full SHA
---@return string # the folder
function M.files(opts)
    check.options(opts, { commit = "string", git_dir = "string" }, "git.files")
    return export(opts.git_dir, opts.commit)
end

---Puts a commit's files where an earlier attempt of the run had them.
---@param of {git_dir: string, commit: string}
---@return string # the folder
function M.restore(of)
    local git_dir = of.git_dir
    if not fs.exists(git_dir) then
        git_dir = check(host.info { dir = "." }).git_dir -- on another computer
    end
    return export(git_dir, of.commit)
end

---Finds the commit that a ref names and puts its files into a clean folder of the run. The
---repository's own index and working tree are not touched.
---@param opts {ref: string, dir: string?, remote: string?} dir: the repository, default "."
---@return dgrun.git.source
function M.checkout(opts)
    check.options(opts, { ref = "string", dir = "string?", remote = "string?" }, "git.checkout")
    local dir, remote = opts.dir or ".", opts.remote or "origin"
    local found = refs.resolve(dir, opts.ref, remote, "git.checkout")
    local info = check(host.info { dir = dir })
    local commit = check(host.log { dir = dir, to = found.commit, limit = 1 })[1]
    note_difference(dir, opts.ref, found, remote)
    note_uncommitted(dir, info, found)
    local folder = export(info.git_dir, found.commit)
    note_missing(folder, info.git_dir)
    replay.keep { path = folder, kind = "git.export", git_dir = info.git_dir,
        commit = found.commit }
    return {
        commit = found.commit, ref = opts.ref, kind = found.kind, subject = commit.subject,
        author = commit.author, time = commit.time, dir = folder,
    }
end

---Commits, newest first: those that `to` has and `from` has not.
---@param opts {to: string?, from: string?, limit: integer?, dir: string?, remote: string?}
---@return dgrun.git.commit[]
function M.log(opts)
    check.options(opts, {
        to = "string?", from = "string?", limit = "integer?", dir = "string?", remote = "string?",
    }, "git.log")
    local dir, remote = opts.dir or ".", opts.remote or "origin"
    local from = opts.from and refs.resolve(dir, opts.from, remote, "git.log").commit
    local to = refs.resolve(dir, opts.to or "HEAD", remote, "git.log").commit
    return check(host.log { dir = dir, from = from, to = to, limit = opts.limit })
end

---Is one commit part of the other's history?
---@param opts {ancestor: string, descendant: string, dir: string?, remote: string?}
---@return boolean
function M.is_ancestor(opts)
    check.options(opts, {
        ancestor = "string", descendant = "string", dir = "string?", remote = "string?",
    }, "git.is_ancestor")
    local dir, remote = opts.dir or ".", opts.remote or "origin"
    local ancestor = refs.resolve(dir, opts.ancestor, remote, "git.is_ancestor").commit
    local descendant = refs.resolve(dir, opts.descendant, remote, "git.is_ancestor").commit
    local answer, e = host.is_ancestor { dir = dir, ancestor = ancestor, descendant = descendant }
    check(answer ~= nil, e)
    if not answer then
        refs.require_history(dir, remote, "git.is_ancestor")
    end
    return answer
end

---How far two commits are apart: `ahead` counts what only `to` has, `behind` what only `from` has.
---@param opts {from: string, to: string, dir: string?, remote: string?}
---@return {ahead: integer, behind: integer}
function M.distance(opts)
    check.options(opts, { from = "string", to = "string", dir = "string?", remote = "string?" },
        "git.distance")
    local dir, remote = opts.dir or ".", opts.remote or "origin"
    local from = refs.resolve(dir, opts.from, remote, "git.distance").commit
    local to = refs.resolve(dir, opts.to, remote, "git.distance").commit
    local count = check(host.count { dir = dir, from = from, to = to })
    if from ~= to then
        refs.require_history(dir, remote, "git.distance")
    end
    return count
end

---@class dgrun.git.status
---@field commit? string
---@field branch? string nil when HEAD is detached
---@field upstream? string
---@field ahead? integer
---@field behind? integer
---@field clean boolean
---@field files host.git.file[]

---The state of the working tree.
---@param opts? {dir: string?}
---@return dgrun.git.status
function M.status(opts)
    opts = check.options(opts or {}, { dir = "string?" }, "git.status")
    local dir = opts.dir or "."
    know_filters(dir)
    return check(host.status { dir = dir })
end

---@class dgrun.git.fetch.options
---@field remote? string default "origin"
---@field dir? string
---@field refspecs? string[]
---@field depth? integer
---@field unshallow? boolean
---@field prune? boolean

---Gets what is new on the remote.
---@param opts? dgrun.git.fetch.options
---@return {updated: {name: string, before: string?, after: string?}[]}
function M.fetch(opts)
    return git_write.fetch(opts or {}, M.remote_timeout)
end

---Creates a tag. One that exists on the same commit is left alone.
---@param opts {name: string, ref: string?, message: string?, dir: string?} ref: default HEAD
---@return {name: string, commit: string, created: boolean}
function M.tag(opts)
    return git_write.tag(opts)
end

---Pushes branches and tags, each to its own name on the remote. Never forces.
---@param opts {refs: string[], remote: string?, dir: string?}
---@return {name: string, before: string?, after: string}[] # what changed on the remote
function M.push(opts)
    return git_write.push(opts, M.remote_timeout)
end

return M
