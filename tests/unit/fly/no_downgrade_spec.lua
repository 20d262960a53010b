-- Never backwards: what is to be shipped against what runs, by the history of a real repository.
local fly_run = require "support.fly_run"
local guard = require "dgrun.fly.no_downgrade"
local repository = require "support.repository"

---main: first - second - third; side: first - other.
local function history()
    local dir, first = repository.new()
    local second = repository.commit(dir, { a = "2" }, "Second")
    local third = repository.commit(dir, { a = "3" }, "Third")
    repository.git(dir, { "checkout", "-q", "-b", "side", first })
    local other = repository.commit(dir, { b = "1" }, "Other")
    return { dir = dir, first = first, second = second, third = third, other = other }
end

---The outcome of the guard while machines of these commits run.
local function ship(repo, running, commit, unless)
    local result
    fly_run.with(function(fly, execute)
        for _, one in ipairs(running) do
            fly.register("registry.fly.io/web:one")
            fly.create { config = { image = "registry.fly.io/web:one", metadata = {
                fly_platform_version = "v2", fly_process_group = "app",
                dgrun_commit = one ~= "none" and one or nil } } }
        end
        result = execute(function()
            guard.refuse_older { app = "web", commit = commit, dir = repo.dir, unless = unless }
        end)
    end)
    local notes = {}
    for i, note in ipairs(result.notes) do
        notes[i] = note.text
    end
    return result.error, table.concat(notes, "\n")
end

describe("a commit to ship", function()
    it("may be newer than what runs, or the same, or the first", function()
        local repo = history()
        local second, third = repo.second, repo.third
        for _, running in ipairs { { second }, { third }, {}, { second, third } } do
            local e, notes = ship(repo, running, third)
            assert.is_nil(e)
            assert.equal("", notes)
        end
    end)

    it("is refused when it is older, unless that is allowed", function()
        local repo = history()
        local e = ship(repo, { repo.third }, repo.first)
        assert.equal("refused.older", e.code)
        assert.matches(repo.third:sub(1, 12), e.msg, 1, true)
        assert.matches("--allow-older", e.hint, 1, true)
        e = ship(repo, { repo.first, repo.third }, repo.second)
        assert.equal("refused.older", e.code)
        local none, notes = ship(repo, { repo.third }, repo.first, true)
        assert.is_nil(none)
        assert.matches("newer.*; allowed", notes)
    end)

    it("is refused when the histories have parted, unless that is allowed", function()
        local repo = history()
        for _, pair in ipairs { { repo.other, repo.third }, { repo.third, repo.other } } do
            local e = ship(repo, { pair[1] }, pair[2])
            assert.equal("refused.unrelated", e.code)
            assert.matches("have diverged", e.msg)
        end
        local none, notes = ship(repo, { repo.other }, repo.third, true)
        assert.is_nil(none)
        assert.matches("; allowed", notes)
    end)

    it("is shipped with a warning when it is not known what runs", function()
        local repo = history()
        local e, notes = ship(repo, { ("0123456789"):rep(4) }, repo.first)
        assert.is_nil(e)
        assert.matches("not in this repository", notes)
        e, notes = ship(repo, { "none" }, repo.first)
        assert.is_nil(e)
        assert.matches("unknown commit", notes)
    end)

    it("is not compared with half a history", function()
        local repo = history()
        repository.git(repo.dir, { "checkout", "-q", "main" })
        local shallow = { dir = repository.folder() / "shallow" }
        repository.git(repo.dir, { "clone", "-q", "--depth", "1", "file://" .. repo.dir,
            shallow.dir })
        repository.git(shallow.dir, { "fetch", "-q", "--depth", "1", "origin", repo.second })
        -- The older one is there, but not that it leads to the newer one.
        local e = ship(shallow, { repo.second }, repo.third)
        assert.equal("git.shallow", e.code)
        assert.matches("unshallow", e.hint)
    end)
end)
