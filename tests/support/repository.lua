-- Real git repositories in temporary folders, for tests.
local background = require "support.background"
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

local identity = {
    GIT_AUTHOR_NAME = "Ada Author", GIT_AUTHOR_EMAIL = "ada@example.org",
    GIT_COMMITTER_NAME = "Carl Committer", GIT_COMMITTER_EMAIL = "carl@example.org",
    GIT_CONFIG_GLOBAL = "/dev/null", GIT_CONFIG_SYSTEM = "/dev/null",
}

---A folder that is removed at the end of the test.
function M.folder()
    local dir = fs.real(assert(fs.temp_dir("git-")))
    task.defer(function() background.remove(dir) end)
    return dir
end

---Runs git in `dir`; its output without the last newline.
---@param env? table<string, string>
function M.git(dir, argv, env)
    local all = {}
    for name, value in pairs(identity) do
        all[name] = value
    end
    for name, value in pairs(env or {}) do
        all[name] = value
    end
    local r = assert(proc.run { argv = { "git", "-C", dir, unpack(argv) }, env = all })
    assert(r.status == 0, table.concat(argv, " ") .. ": " .. r.stderr)
    return (r.stdout:gsub("\n$", ""))
end

---Writes files and commits everything; the commit's SHA.
---@param files table<string, string>
---@param message? string
---@param env? table<string, string>
function M.commit(dir, files, message, env)
    for name, text in pairs(files) do
        local folder = (dir / name):match("^(.*)/")
        assert(fs.mkdir(folder, { parents = true }))
        assert(fs.write(dir / name, text))
    end
    M.git(dir, { "add", "-A" })
    M.git(dir, { "commit", "-q", "--allow-empty", "-m", message or "A commit" }, env)
    return M.git(dir, { "rev-parse", "HEAD" })
end

---A new repository with one commit: its folder, and the SHA.
function M.new()
    local dir = M.folder()
    M.git(dir, { "init", "-q", "-b", "main" })
    M.git(dir, { "config", "user.name", "Ada Author" })
    M.git(dir, { "config", "user.email", "ada@example.org" })
    return dir, M.commit(dir, { ["app.py"] = "print(1)\n", ["sub/data.txt"] = "data\n" }, "First")
end

---A bare copy of a repository, set as its remote "origin"; the copy's folder.
function M.bare(dir)
    local bare = M.folder()
    M.git(dir, { "clone", "-q", "--bare", dir, bare })
    M.git(dir, { "remote", "add", "origin", "file://" .. bare })
    M.git(dir, { "fetch", "-q", "origin" })
    return bare
end

---Everything below a folder, file by file with its bytes, to compare before and after.
function M.snapshot(dir)
    local list = "find . -type f -exec sha256sum {} + | sort; find . -printf '%p %m %l\\n' | sort"
    local r = assert(proc.run {
        argv = { "sh", "-c", list },
        cwd = dir, read_only = true,
    })
    return r.stdout
end

return M
