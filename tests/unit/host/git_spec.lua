local fs = require "host.fs"
local git = require "host.git"
local repository = require "support.repository"
local task = require "dgrun.core.task"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local function failure(result, e)
    assert.is_nil(result)
    return e
end

describe("host.git", function()
    it("resolves tags, branches, remote branches, SHAs and what git understands", function()
        local dir, first = repository.new()
        local second = repository.commit(dir, { ["app.py"] = "print(2)\n" }, "Second")
        repository.git(dir, { "tag", "-a", "-m", "annotated", "v1", first })
        repository.git(dir, { "tag", "light", first })
        repository.git(dir, { "branch", "feature/x", first })
        repository.git(dir, { "update-ref", "refs/remotes/origin/far", first })
        local function resolve(ref)
            return assert(git.resolve { dir = dir, ref = ref, remote = "origin" })
        end
        assert.same({ commit = first, kind = "tag", name = "refs/tags/v1" }, resolve "v1")
        assert.same({ commit = first, kind = "tag", name = "refs/tags/light" }, resolve "light")
        assert.same({ commit = second, kind = "branch", name = "refs/heads/main" }, resolve "main")
        assert.same({ commit = first, kind = "branch", name = "refs/heads/feature/x" },
            resolve "feature/x")
        assert.same({
            commit = first, kind = "remote_branch", name = "refs/remotes/origin/far",
            remote_commit = first,
        }, resolve "far")
        for _, ref in ipairs { first, first:sub(1, 10), "HEAD~1", "origin/far", "refs/tags/v1",
            "v1^{commit}", "@~" } do
            assert.same({ commit = first, kind = "commit" }, resolve(ref))
        end
        assert.is_nil(git.resolve { dir = dir, ref = "nothing", remote = "origin" })
        assert.is_nil(git.resolve { dir = dir, ref = ("0"):rep(40), remote = "origin" })
        local tree = repository.git(dir, { "rev-parse", "HEAD^{tree}" })
        assert.equal("git.not_a_commit",
            failure(git.resolve { dir = dir, ref = tree, remote = "origin" }).code)
    end)

    it("prefers a tag to a branch, and a full SHA to both", function()
        local dir, first = repository.new()
        local second = repository.commit(dir, {}, "Second")
        repository.git(dir, { "tag", "same", first })
        repository.git(dir, { "branch", "same", second })
        repository.git(dir, { "tag", second, first })
        assert.equal(first, git.resolve { dir = dir, ref = "same", remote = "origin" }.commit)
        assert.equal(second, git.resolve { dir = dir, ref = second, remote = "origin" }.commit)
    end)

    it("calls the beginning of two SHAs ambiguous", function()
        local dir = repository.new()
        local seen, i, first = {}, 0
        local env = { GIT_AUTHOR_DATE = "2026-01-01T00:00:00Z",
            GIT_COMMITTER_DATE = "2026-01-01T00:00:00Z" } -- the same SHAs in each run
        repeat
            i = i + 1
            local message = "commit " .. i
            local sha = repository.git(dir, { "commit-tree", "-m", message, "HEAD^{tree}" }, env)
            first = seen[sha:sub(1, 4)]
            seen[sha:sub(1, 4)] = sha:sub(1, 4)
        until first
        local e = failure(git.resolve { dir = dir, ref = first, remote = "origin" })
        assert.equal("git.ambiguous_ref", e.code)
        assert.matches(first .. "%x+ commit", e.hint)
    end)

    it("refuses what cannot be a ref", function()
        local dir = repository.new()
        for _, ref in ipairs { "", "-x", "--upload-pack=x", "a\nb", "a\27[0m", "a..b", "a b",
            ":/x", "main:app.py", "x*", "\127" } do
            local e = failure(git.resolve { dir = dir, ref = ref, remote = "origin" })
            assert.equal("git.invalid_ref", e.code)
            assert.is_nil(e.msg:find("%c"))
        end
        assert.equal("git.invalid_ref", failure(git.check_ref("a\0b")).code)
        assert.is_true(git.check_ref("feature/ü@{1}"))
    end)

    it("reads odd subjects and authors", function()
        local dir = repository.new()
        local strange = "Fix \27[31mred\27[0m ü€ 'quotes' \"double\"\tand tab\194\155x"
        local commit = repository.commit(dir, {}, strange .. "\nsecond line\n\nbody\nbody",
            { GIT_AUTHOR_NAME = "Ünï <> \27[1mCödé", GIT_AUTHOR_EMAIL = "a b@c" })
        local log = assert(git.log { dir = dir, to = "HEAD" })
        assert.equal(2, #log)
        assert.equal(commit, log[1].commit)
        assert.same({ log[2].commit }, log[1].parents)
        assert.same({}, log[2].parents)
        assert.equal("Fix  [31mred [0m ü€ 'quotes' \"double\" and tab x second line",
            log[1].subject)
        assert.equal("Ünï   [1mCödé", log[1].author)
        assert.equal("Carl Committer", log[1].committer)
        assert.is_true(log[1].time > 1e9 and log[1].author_time > 1e9)
    end)

    it("reads a commit without a subject, and one that is not UTF-8", function()
        local dir = repository.new()
        repository.git(dir, { "commit", "-q", "--allow-empty", "--allow-empty-message", "-m", "" })
        assert.equal("", git.log { dir = dir, to = "HEAD", limit = 1 }[1].subject)
        local raw = repository.git(dir, { "cat-file", "commit", "HEAD" }) .. "\nlatin \233 one\n"
        fs.write(dir / "raw", raw)
        local odd = repository.git(dir, { "hash-object", "-t", "commit", "-w", "raw" })
        assert.equal("latin ? one", git.log { dir = dir, to = odd, limit = 1 }[1].subject)
    end)

    it("logs a range", function()
        local dir, first = repository.new()
        local second = repository.commit(dir, {}, "Second")
        local third = repository.commit(dir, {}, "Third")
        local log = assert(git.log { dir = dir, from = first, to = "main" })
        assert.same({ third, second }, { log[1].commit, log[2].commit })
        assert.equal(1, #git.log { dir = dir, to = "main", limit = 1 })
        assert.equal(0, #git.log { dir = dir, from = third, to = "main" })
        assert.equal("git.unknown_ref", failure(git.log { dir = dir, to = "nope" }).code)
    end)

    it("knows ancestors and distances", function()
        local dir, first = repository.new()
        repository.git(dir, { "branch", "side" })
        repository.commit(dir, {}, "Second")
        repository.git(dir, { "checkout", "-q", "side" })
        repository.commit(dir, {}, "Side")
        local function ancestor(a, b)
            return git.is_ancestor { dir = dir, ancestor = a, descendant = b }
        end
        assert.is_true(ancestor(first, "main"))
        assert.is_true(ancestor("main", "main"))
        assert.is_false(ancestor("main", first))
        assert.is_false(ancestor("main", "side"))
        assert.equal("git.unknown_ref", failure(ancestor("nope", "main")).code)
        assert.same({ ahead = 1, behind = 1 }, git.count { dir = dir, from = "main", to = "side" })
        assert.same({ ahead = 2, behind = 0 }, (function()
            repository.commit(dir, {}, "Side 2")
            return git.count { dir = dir, from = first, to = "side" }
        end)())
    end)

    it("finds the merge base, and what is different from it", function()
        local dir, first = repository.new()
        repository.commit(dir, { ["sub/old.txt"] = "old\n", ["sub/keep.txt"] = "keep\n" })
        repository.git(dir, { "checkout", "-q", "-b", "feature", "HEAD~1" })
        repository.commit(dir, { ["sub/n\195\182 \n.txt"] = "new\n", ["top.txt"] = "" })
        repository.git(dir, { "mv", "sub/data.txt", "sub/moved.txt" })
        assert.equal(first, git.merge_base { dir = dir, one = "HEAD", other = "main" })
        local function changed(path, at)
            return assert(git.changed { dir = at or dir, from = first, path = path })
        end
        assert.same({ "sub/n\195\182 \n.txt" }, changed "sub")
        assert.same({ "n\195\182 \n.txt" }, changed(".", dir / "sub"))
        assert.same({ "sub/n\195\182 \n.txt", "top.txt" }, changed ".")
        assert(fs.write(dir / "app.py", "print(3)\n"))
        assert(fs.write(dir / "sub/*.txt", "more\n"))
        assert(fs.write(dir / ".gitignore", "ignored\n"))
        assert(fs.write(dir / "sub/ignored", ""))
        assert.same({ "app.py" }, changed "app.py")
        assert.same({ "sub/*.txt" }, git.untracked { dir = dir, path = "sub" })
        assert.same({ "*.txt" }, git.untracked { dir = dir / "sub", path = "." })
        repository.git(dir, { "checkout", "-q", "--orphan", "alone" })
        repository.commit(dir, {})
        assert.is_nil(git.merge_base { dir = dir, one = "HEAD", other = "main" })
        assert.equal("git.unknown_ref", failure(git.changed { dir = dir, from = "nothing",
            path = "." }).code)
        assert.equal("git.unknown_ref", failure(git.merge_base { dir = dir, one = "HEAD",
            other = "nothing" }).code)
        assert.equal("git.invalid_ref", failure(git.changed { dir = dir, from = "--output=x",
            path = "." }).code)
    end)

    it("reads the status, odd paths included", function()
        local dir, first = repository.new()
        local status = assert(git.status { dir = dir })
        assert.same({ commit = first, branch = "main", clean = true, files = {} }, status)
        fs.write(dir / "app.py", "changed")
        fs.write(dir / "new file\n ü.txt", "new")
        repository.git(dir, { "mv", "sub/data.txt", "sub/moved to.txt" })
        fs.write(dir / "staged", "x")
        repository.git(dir, { "add", "staged" })
        status = assert(git.status { dir = dir })
        assert.is_false(status.clean)
        local by_path = {}
        for _, file in ipairs(status.files) do
            by_path[file.path] = file
        end
        assert.same({ path = "app.py", index = ".", worktree = "M" }, by_path["app.py"])
        assert.same({ path = "staged", index = "A", worktree = "." }, by_path.staged)
        assert.same({ path = "new file\n ü.txt", untracked = true }, by_path["new file\n ü.txt"])
        assert.same({
            path = "sub/moved to.txt", from = "sub/data.txt", index = "R", worktree = ".",
        }, by_path["sub/moved to.txt"])
    end)

    it("sees upstream, a detached HEAD, and a conflict", function()
        local dir = repository.new()
        repository.bare(dir)
        repository.git(dir, { "branch", "-q", "--set-upstream-to=origin/main" })
        repository.commit(dir, { ["app.py"] = "mine\n" }, "Mine")
        local status = assert(git.status { dir = dir })
        assert.same({ "origin/main", 1, 0 }, { status.upstream, status.ahead, status.behind })
        repository.git(dir, { "checkout", "-q", "--detach", "HEAD~1" })
        status = assert(git.status { dir = dir })
        assert.is_nil(status.branch)
        repository.commit(dir, { ["app.py"] = "theirs\n" }, "Theirs")
        pcall(repository.git, dir, { "merge", "-q", "main" })
        assert.is_true(git.status { dir = dir }.files[1].conflict)
    end)

    it("lists refs by the commits they stand for", function()
        local dir, first = repository.new()
        repository.git(dir, { "tag", "-a", "-m", "x", "v1" })
        local refs = {}
        for _, ref in ipairs(assert(git.refs { dir = dir })) do
            refs[ref.name] = ref.commit
        end
        assert.same({ ["refs/heads/main"] = first, ["refs/tags/v1"] = first }, refs)
    end)

    it("exports a commit and leaves a dirty working tree as it is", function()
        local dir, first = repository.new()
        fs.symlink("app.py", dir / "link")
        fs.write(dir / "run.sh", "#!/bin/sh\n")
        fs.write(dir / ".gitattributes", "hidden export-ignore\n")
        fs.write(dir / "hidden", "in the image too\n")
        repository.git(dir, { "add", "-A" })
        repository.git(dir, { "update-index", "--chmod=+x", "run.sh" })
        repository.git(dir, { "commit", "-q", "-m", "More" })
        local second = repository.git(dir, { "rev-parse", "HEAD" })
        fs.write(dir / "app.py", "dirty\n")
        fs.write(dir / "untracked", "u")
        repository.git(dir, { "add", "untracked" })
        fs.remove(dir / "sub/data.txt")
        -- Configuration that would change what a checkout does.
        repository.git(dir, { "config", "core.hooksPath", dir / "sub" })
        repository.git(dir, { "config", "core.splitIndex", "true" })
        repository.git(dir, { "config", "core.sparseCheckout", "true" })
        fs.write(dir / ".git/info/sparse-checkout", "/sub/\n")
        local before = repository.snapshot(dir)
        local temp = repository.folder()
        for name, commit in pairs { one = first, two = second } do
            assert(fs.mkdir(temp / name))
            local info = assert(git.info { dir = dir / "sub" })
            assert.is_true(git.export {
                git_dir = info.git_dir, commit = commit, into = temp / name,
                index = temp / (name .. ".index"),
            })
        end
        assert.equal(before, repository.snapshot(dir))
        assert.same({ "app.py", "sub" }, fs.list(temp / "one"))
        assert.same({ ".gitattributes", "app.py", "hidden", "link", "run.sh", "sub" },
            fs.list(temp / "two"))
        assert.equal("print(1)\n", fs.read(temp / "two/app.py"))
        assert.equal("data\n", fs.read(temp / "two/sub/data.txt"))
        assert.equal("link", fs.stat(temp / "two/link").type)
        assert.is_true(bit.band(fs.stat(temp / "two/run.sh").mode, 64) ~= 0)
    end)

    it("names the operation once where it rejects an argument", function()
        local dir, commit = repository.new()
        local export = { git_dir = dir, commit = commit, into = "a", index = "/b" }
        for message, call in pairs {
            ["git.config: '-x' is not a name"] = { git.config, { dir = dir, name = "-x" } },
            ["git.export: 'into' and 'index' must be absolute"] = { git.export, export },
            ["git.export: 'commit' must be a full SHA"] = { git.export,
                { git_dir = dir, commit = "HEAD", into = "/a", index = "/b" } },
        } do
            local ok, e = pcall(call[1], call[2])
            assert.is_false(ok)
            assert.equal(message, e.msg)
        end
    end)

    it("works in a repository whose hook it is called from", function()
        local dir, first = repository.new()
        local other = repository.new()
        local env = { DIR = dir, SCRIPT = [[
            local found = assert(require("host.git").resolve {
                dir = os.getenv "DIR", ref = "HEAD", remote = "origin" })
            print(found.commit)
        ]], GIT_DIR = other .. "/.git", GIT_INDEX_FILE = "/nowhere", GIT_WORK_TREE = other }
        local r = assert(require("host.proc").run {
            argv = { fs.real "/proc/self/exe", "-e", env.SCRIPT }, env = env,
        })
        assert.equal(first .. "\n", r.stdout)
    end)

    it("says what a folder is not", function()
        local dir = repository.folder()
        assert.equal("git.not_a_repository", failure(git.info { dir = dir }).code)
        assert.equal("git.not_a_repository",
            failure(git.resolve { dir = dir, ref = "main", remote = "origin" }).code)
        assert.equal("git.not_a_repository", failure(git.status { dir = dir / "nowhere" }).code)
    end)

    it("knows bare and shallow repositories", function()
        local dir = repository.new()
        repository.commit(dir, {}, "Second")
        local bare = repository.bare(dir)
        assert.same({ bare = true, shallow = false, git_dir = bare }, git.info { dir = bare })
        local shallow = repository.folder()
        repository.git(shallow, { "clone", "-q", "--depth=1", "file://" .. bare, shallow / "c" })
        local info = assert(git.info { dir = shallow / "c" })
        assert.same({ false, true, shallow / "c" }, { info.bare, info.shallow, info.top })
    end)

    it("fetches, tags and pushes", function()
        local dir, first = repository.new()
        local bare = repository.bare(dir)
        local second = repository.commit(dir, {}, "Second")
        assert.is_true(git.tag { dir = dir, name = "v1", commit = first, message = "Release\n#1" })
        assert.is_true(git.tag { dir = dir, name = "light", commit = second })
        assert.equal("Release\n#1",
            repository.git(dir, { "tag", "-l", "--format=%(contents)", "v1" }))
        assert.equal("git.tag_exists",
            failure(git.tag { dir = dir, name = "v1", commit = second }).code)
        local pushed = assert(git.push {
            dir = dir, remote = "origin",
            refspecs = { "refs/heads/main:refs/heads/main", "refs/tags/v1:refs/tags/v1" },
        })
        assert.same({ "refs/heads/main", " " }, { pushed[1].to, pushed[1].flag })
        assert.same({ "refs/tags/v1", "*" }, { pushed[2].to, pushed[2].flag })
        local there = assert(git.remote_refs { dir = dir, remote = "origin" })
        assert.same({ second, first, second },
            { there["refs/heads/main"], there["refs/tags/v1"], there.HEAD })
        assert.is_nil(there["refs/tags/light"])

        local clone = repository.folder()
        repository.git(clone, { "clone", "-q", bare, clone / "c" })
        local third = repository.commit(clone / "c", {}, "Third")
        repository.git(clone / "c", { "push", "-q", "origin", "main" })
        assert.is_true(git.fetch { dir = dir, remote = "origin" })
        assert.equal(third,
            git.resolve { dir = dir, ref = "origin/main", remote = "origin" }.commit)

        repository.commit(dir, {}, "Diverged")
        local e = failure(git.push {
            dir = dir, remote = "origin", refspecs = { "refs/heads/main:refs/heads/main" },
        })
        assert.equal("git.rejected", e.code)
        assert.matches("refs/heads/main", e.msg)
        assert.equal("git.unknown_ref", failure(git.push {
            dir = dir, remote = "origin", refspecs = { "nope:refs/heads/nope" },
        }).code)
        assert.equal("git.unknown_ref", failure(git.fetch {
            dir = dir, remote = "origin", refspecs = { "refs/heads/nope" },
        }).code)
    end)

    it("tells what the remote's hook said, and runs none of its own", function()
        local dir = repository.new()
        local bare = repository.bare(dir)
        fs.write(bare / "hooks/pre-receive", "#!/bin/sh\necho frozen until Monday >&2\nexit 1\n",
            { mode = 448 })
        local marker = repository.folder() / "ran"
        fs.write(dir / ".git/hooks/pre-push", "#!/bin/sh\ntouch " .. marker .. "\n", { mode = 448 })
        repository.commit(dir, {}, "Second")
        local e = failure(git.push {
            dir = dir, remote = "origin", refspecs = { "refs/heads/main:refs/heads/main" },
        })
        assert.equal("git.rejected", e.code)
        assert.matches("frozen until Monday", e.msg)
        assert.is_false(fs.exists(marker))
    end)

    it("says that a remote is not there", function()
        local dir = repository.new()
        for _, remote in ipairs { "nowhere", "file:///no/such/repository",
            "http://127.0.0.1:1/x.git", "ssh://127.0.0.1:1/x.git" } do
            local e = failure(git.fetch { dir = dir, remote = remote, timeout = 20 })
            assert.equal("git.remote_unreachable", e.code)
        end
        local ok, e = pcall(git.fetch, { dir = dir, remote = "--upload-pack=touch x" })
        assert.is_false(ok)
        assert.equal("input.invalid", e.code)
    end)

    it("masks a password in a remote's URL", function()
        local dir = repository.new()
        local e = failure(git.fetch {
            dir = dir, remote = "http://user:hunter22@127.0.0.1:1/x.git", timeout = 20,
        })
        assert.is_nil(e.msg:find("hunter22", 1, true))
    end)

    it("starts ssh in batch mode, after the user's own options", function()
        local dir = repository.new()
        local temp = repository.folder()
        fs.write(temp / "ssh", '#!/bin/sh\nprintf "%s " "$@" > "' .. temp .. '/args"\n'
            .. 'echo "git@host: Permission denied (publickey)." >&2\nexit 255\n', { mode = 448 })
        local e = failure(git.fetch {
            dir = dir, remote = "git@host:x.git", ssh_command = temp .. "/ssh -i key",
        })
        assert.equal("git.auth_failed", e.code)
        assert.matches("^%-i key .*%-o BatchMode=yes .*git@host", (fs.read(temp / "args")))
    end)

    it("does not wait for a password", function()
        local server_module = pcall(require, "host.server") and require "host.server"
        if not server_module then
            return pending "needs host.server"
        end
        local server = assert(server_module.listen { port = 0 })
        local answering = task.spawn(function()
            while true do
                local request = server:accept()
                if not request then
                    return
                end
                local headers = { ["WWW-Authenticate"] = 'Basic realm="x"' }
                request:reply { status = 401, headers = headers }
            end
        end)
        local dir = repository.new()
        local e = failure(git.fetch {
            dir = dir, remote = ("http://127.0.0.1:%d/x.git"):format(server:port()), timeout = 20,
        })
        assert.equal("git.auth_failed", e.code)
        server:close()
        answering.join()
    end)

    it("is stopped with the task that waits for it", function()
        local dir = repository.new()
        local temp = repository.folder()
        fs.write(temp / "ssh", "#!/bin/sh\ntouch " .. temp .. "/up\nexec sleep 60\n",
            { mode = 448 })
        local host_task = require "host.task"
        local fetching = host_task.spawn(function()
            return git.fetch { dir = dir, remote = "git@host:x.git", ssh_command = temp .. "/ssh" }
        end)
        task.timeout(10, function()
            while not fs.exists(temp / "up") do
                task.sleep(0.005)
            end
        end)
        fetching:cancel()
        local _, _, e = fetching:join()
        assert.equal("cancelled", e.code)
    end)
end)
