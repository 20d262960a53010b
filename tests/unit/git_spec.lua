local err = require "dgrun.core.err"
local fs = require "host.fs"
local git = require "dgrun.git"
local repository = require "support.repository"
local run = require "dgrun.run"

local function caught(f, ...)
    local ok, e = pcall(f, ...)
    assert.is_false(ok)
    assert.is_true(err.is_object(e))
    return e
end

---Runs `f` as a run that journals nothing; its result, and the run.
local function in_run(f, plan)
    local result
    local r = run.execute({ name = "test", root = ".", plan = plan, journal = false }, function()
        result = f()
    end)
    if r.error then
        error(r.error, 0)
    end
    return result, r
end

describe("dgrun.git.checkout", function()
    it("gives a commit's files in a folder of the run", function()
        local dir, first = repository.new()
        repository.commit(dir, { ["app.py"] = "print(2)\n" }, "Second")
        repository.git(dir, { "tag", "-a", "-m", "x", "v1", first })
        fs.write(dir / "app.py", "dirty\n")
        local before = repository.snapshot(dir)
        in_run(function()
            local source = git.checkout { ref = "v1", dir = dir }
            assert.same({ first, "v1", "tag", "First", "Ada Author" },
                { source.commit, source.ref, source.kind, source.subject, source.author })
            assert.is_true(source.time > 1e9)
            assert.equal(run.current().dir .. "/source-" .. first:sub(1, 12), source.dir)
            assert.equal("print(1)\n", fs.read(source.dir / "app.py"))
            local again = git.checkout { ref = first:sub(1, 8), dir = dir / "sub" }
            assert.equal(source.dir, again.dir)
            local main = git.checkout { ref = "main", dir = dir }
            assert.equal("print(2)\n", fs.read(main.dir / "app.py"))
        end)
        assert.equal(before, repository.snapshot(dir))
    end)

    it("never reuses a folder that was left half done", function()
        local dir, first = repository.new()
        in_run(function()
            local dest = run.current().dir / ("source-" .. first:sub(1, 12))
            for i = 1, 9 do -- each export of a process has a number
                fs.mkdir(("%s.%d.partial"):format(dest, i))
                assert(fs.write(("%s.%d.partial.index.lock"):format(dest, i), ""))
            end
            assert.equal(dest, git.checkout { ref = first, dir = dir }.dir)
            assert.same({ "app.py", "sub" }, fs.list(dest))
        end)
    end)

    it("works for two tasks at once", function()
        local dir = repository.new()
        in_run(function()
            local sources = require("dgrun.core.task").map({ 1, 2, 3, 4 }, {}, function()
                return git.checkout { ref = "main", dir = dir }
            end)
            for _, source in ipairs(sources) do
                assert.same({ "app.py", "sub" }, fs.list(source.dir))
            end
        end)
    end)

    it("falls back to the remote's branch", function()
        local dir, first = repository.new()
        repository.bare(dir)
        repository.git(dir, { "checkout", "-q", "--detach" })
        repository.git(dir, { "branch", "-q", "-D", "main" })
        in_run(function()
            local source = git.checkout { ref = "main", dir = dir }
            assert.same({ first, "remote_branch" }, { source.commit, source.kind })
        end)
    end)

    it("names what is near to an unknown ref", function()
        local dir = repository.new()
        repository.git(dir, { "tag", "v1.4.0" })
        local e = caught(git.checkout, { ref = "v1.4.1", dir = dir })
        assert.equal("git.unknown_ref", e.code)
        assert.matches("v1.4.1", e.msg, nil, true)
        assert.matches("Did you mean 'v1.4.0'", e.hint, nil, true)
        assert.matches("This repository has no remote 'origin' to fetch from.", e.hint, nil, true)
        assert.matches("git_spec.lua", e.where)
        repository.bare(dir)
        e = caught(git.checkout, { ref = "v1.4.1", dir = dir })
        assert.matches("'git fetch --tags origin' fetches new commits and tags.", e.hint, nil, true)
    end)

    it("refuses what is no ref, and a folder that is no repository", function()
        local dir = repository.new()
        for _, ref in ipairs { "-x", "", "a\nb", "main..v1", "a\0b" } do
            assert.equal("git.invalid_ref", caught(git.checkout, { ref = ref, dir = dir }).code)
        end
        local folder = repository.folder()
        assert.equal("git.not_a_repository",
            caught(git.checkout, { ref = "main", dir = folder }).code)
        assert.equal("input.unknown_option", caught(git.checkout, { reff = "main" }).code)
    end)

    it("says of a shallow clone how to get the rest", function()
        local dir, first = repository.new()
        local second = repository.commit(dir, {}, "Second")
        local bare = repository.bare(dir)
        local clone = repository.folder() / "clone"
        repository.git(dir, { "clone", "-q", "--depth=1", "file://" .. bare, clone })
        assert.matches("unshallow", caught(git.checkout, { ref = first, dir = clone }).hint)
        assert.is_true(git.is_ancestor { ancestor = second, descendant = "main", dir = clone })
        repository.commit(clone, {}, "Third")
        local orphan = repository.git(clone, { "commit-tree", "-m", "x", "HEAD^{tree}" })
        local e = caught(git.is_ancestor, { ancestor = orphan, descendant = "main", dir = clone })
        assert.equal("git.shallow", e.code)
        git.fetch { dir = clone, unshallow = true }
        assert.is_false(git.is_ancestor { ancestor = orphan, descendant = "main", dir = clone })
        assert.equal(first, git.resolve { ref = first, dir = clone }.commit)
    end)
end)

describe("dgrun.git", function()
    it("answers questions about history", function()
        local dir, first = repository.new()
        local second = repository.commit(dir, {}, "Second")
        assert.equal(second, git.log { dir = dir, limit = 1 }[1].commit)
        assert.same({ "Second" }, { git.log { dir = dir, from = first }[1].subject })
        assert.is_true(git.is_ancestor { dir = dir, ancestor = first, descendant = "main" })
        assert.is_false(git.is_ancestor { dir = dir, ancestor = "main", descendant = first })
        assert.same({ ahead = 1, behind = 0 },
            git.distance { dir = dir, from = first, to = "main" })
        assert.is_true(git.status { dir = dir }.clean)
    end)

    it("tags once", function()
        local dir, first = repository.new()
        local second = repository.commit(dir, {}, "Second")
        local _, planned = in_run(function()
            return git.tag { dir = dir, name = "v2", ref = "main" }
        end, true)
        assert.same({ "git.tag.create", "planned" },
            { planned.effects[1].kind, planned.effects[1].status })
        assert.is_nil(require("host.git").resolve { dir = dir, ref = "v2", remote = "origin" })

        local tag, done = in_run(function()
            return git.tag { dir = dir, name = "v2", message = "Release 2" }
        end)
        assert.same({ name = "v2", commit = second, created = true }, tag)
        assert.equal("done", done.effects[1].status)
        local again, nothing = in_run(function() return git.tag { dir = dir, name = "v2" } end)
        assert.is_false(again.created)
        assert.equal(0, #nothing.effects)
        local e = caught(git.tag, { dir = dir, name = "v2", ref = first })
        assert.equal("git.tag_exists", e.code)
        for _, name in ipairs {
            "a..b", "x.lock", "/x", "x/", ".x", "a//b", "v1~1", "a@{b", "-d",
        } do
            assert.equal("git.invalid_ref", caught(git.tag, { dir = dir, name = name }).code)
        end
    end)

    it("pushes what the remote has not, and only forwards", function()
        local dir, first = repository.new()
        local bare = repository.bare(dir)
        local second = repository.commit(dir, {}, "Second")
        git.tag { dir = dir, name = "v1" }
        local function push() return git.push { dir = dir, refs = { "main", "v1" } } end
        local before = repository.snapshot(bare)
        local _, planned = in_run(push, true)
        assert.equal(before, repository.snapshot(bare))
        local effect = planned.effects[1]
        assert.same({ ["refs/heads/main"] = first }, effect.before)
        assert.same({ ["refs/heads/main"] = second, ["refs/tags/v1"] = second }, effect.after)

        local changes = in_run(push)
        assert.equal(2, #changes)
        assert.equal(second, repository.git(bare, { "rev-parse", "v1^{commit}" }))
        local same, nothing = in_run(push)
        assert.same({ 0, 0 }, { #same, #nothing.effects })

        repository.git(dir, { "reset", "-q", "--hard", first })
        repository.commit(dir, {}, "Another second")
        local e = caught(git.push, { dir = dir, refs = { "main" } })
        assert.equal("git.rejected", e.code)
        repository.git(dir, { "tag", "-f", "v1" })
        assert.equal("git.tag_exists", caught(git.push, { dir = dir, refs = { "v1" } }).code)
        assert.equal("git.invalid_ref", caught(git.push, { dir = dir, refs = { "HEAD~1" } }).code)
        assert.equal("git.unknown_ref", caught(git.push, { dir = dir, refs = { "nope" } }).code)
    end)

    it("fetches what is new", function()
        local dir = repository.new()
        local bare = repository.bare(dir)
        local function fetch() return git.fetch { dir = dir } end
        local _, nothing = in_run(fetch)
        assert.equal(0, #nothing.effects)
        local clone = repository.folder() / "clone"
        repository.git(dir, { "clone", "-q", "file://" .. bare, clone })
        local second = repository.commit(clone, {}, "Second")
        repository.git(clone, { "tag", "v9" })
        repository.git(clone, { "push", "-q", "origin", "main", "v9" })
        local before = repository.snapshot(dir)
        local _, planned = in_run(fetch, true)
        assert.equal(before, repository.snapshot(dir))
        local after = { ["refs/remotes/origin/main"] = second, ["refs/tags/v9"] = second }
        assert.same(after, planned.effects[1].after)
        local result = in_run(fetch)
        local updated = {}
        for _, change in ipairs(result.updated) do
            updated[change.name] = change.after
        end
        assert.same(after, updated)
        repository.git(clone, { "push", "-q", "origin", "HEAD:refs/heads/x" })
        assert.equal(1, #in_run(fetch).updated)
        repository.git(clone, { "push", "-q", "origin", ":refs/heads/x", "HEAD:refs/heads/y" })
        result = in_run(function() return git.fetch { dir = dir, prune = true } end)
        assert.equal(2, #result.updated)
    end)
end)
