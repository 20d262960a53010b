-- Files with plain secrets: who can read them, and whether git has them.
local environment = require "dgrun.project.environment"
local where = require "dgrun.secrets.where"
local fs = require "host.fs"
local git = require "dgrun.git"
local repository = require "support.repository"
local run = require "dgrun.run"
local secrets = require "dgrun.secrets"
local ui = require "dgrun.ui.secrets"

local yaml = [[
environments:
  prod:
    app: web
    secrets: { sources: [env, dotenv: .env.prod, dotenv: .env.none], optional: [W_KEY] }
]]

local function make(mode)
    local dir = repository.new()
    assert(fs.mkdir(dir / "scripts"))
    assert(fs.write(dir / "scripts/environments.yaml", yaml))
    assert(fs.write(dir / ".env.prod", "W_KEY=hidden-word\n", { mode = mode }))
    environment.look_from(dir / "scripts")
    return dir
end

local function told()
    return where.exposed(environment.entry(environment.get("prod", { lazy = true })))
end

describe("a file with secrets", function()
    it("is for its owner, and ignored by git", function()
        local dir = make "0644"
        assert.same({
            "other users of this computer can read .env.prod (mode 644): chmod 600 .env.prod",
            "git does not ignore .env.prod: add a line /.env.prod to .gitignore",
        }, told())
        assert(fs.write(dir / ".gitignore", "/.env.prod\n"))
        fs.remove(dir / ".env.prod")
        assert(fs.write(dir / ".env.prod", "W_KEY=hidden-word\n", { mode = "0600" }))
        assert.same({}, told())
        repository.git(dir, { "add", "-f", ".env.prod" })
        assert.matches("^git tracks .env.prod: run git rm %-%-cached .env.prod, ", told()[1])
        assert.equal(1, #told())
    end)

    it("may be in a project without a repository", function()
        local dir = make "0600"
        fs.remove(dir / ".git", { recursive = true })
        assert.same({}, told())
    end)

    it("is told of by secrets.where, and once in a run by the preflight", function()
        make "0640"
        local data = secrets.where "prod"
        assert.equal(2, #data.warnings)
        assert.matches("warning: other users of this computer can read .env.prod (mode 640)",
            ui.where(data), 1, true)
        local entry = environment.entry(environment.get("prod", { lazy = true }))
        run.execute({ name = "test", root = ".", journal = false }, function()
            assert.equal(2, #where.exposed_unreported(entry))
            assert.equal(0, #where.exposed_unreported(entry))
        end)
        assert.equal(2, #where.exposed_unreported(entry))
    end)
end)

describe("a checkout", function()
    local function notes(dir, ref)
        local record = run.execute({ name = "test", root = ".", journal = false }, function()
            git.checkout { ref = ref, dir = dir }
        end)
        assert.is_nil(record.error)
        local list = {}
        for _, note in ipairs(record.notes) do
            list[#list + 1] = note.text
        end
        return table.concat(list, "\n")
    end

    it("says which changes of the branch it leaves out", function()
        local dir, first = repository.new()
        repository.commit(dir, { ["app.py"] = "print(2)\n" }, "Second")
        assert(fs.write(dir / "new.txt", "not tracked"))
        assert.equal("", notes(dir, "main"))
        assert(fs.write(dir / "app.py", "print(3)\n"))
        assert.equal("1 file has uncommitted changes, which are not part of the checkout: app.py",
            notes(dir, "main"))
        assert.matches("1 file has uncommitted", notes(dir, "HEAD"))
        -- Another commit is what was asked for.
        assert.equal("", notes(dir, first))
        repository.git(dir, { "checkout", "-q", "--detach" })
        assert.equal("", notes(dir, "main"))
    end)
end)
