-- Back to earlier releases: what the database has learned since then is looked at by the real
-- Alembic, in the files of the releases' commits, on PostgreSQL and SQLite.
local app = require "support.alembic_app"
local deploy = require("dgrun.fly.deploy").deploy
local fly_run = require "support.fly_run"
local fs = require "host.fs"
local health = require "dgrun.fly.health"
local migrations = require "dgrun.migrations"
local matrix = require "support.matrix"
local postgres = require "support.postgres"
local repository = require "support.repository"
local rollback = require("dgrun.fly.rollback").rollback

local toml = [=[
app = "web"
primary_region = "ewr"
[deploy]
release_command = "alembic upgrade head"
[env]
GREETING = "%s"
[http_service]
internal_port = 8080
[[http_service.checks]]
path = "/health"
]=]

local first = app.revision("aaaa", nil,
    'op.create_table("news", sa.Column("id", sa.Integer), sa.Column("title", sa.Text))',
    'op.drop_table("news")')

local adds = app.revision("bbbb", "aaaa", 'op.add_column("news", sa.Column("url", sa.Text))',
    'op.drop_column("news", "url")', "an address")
local drops = app.revision("cccc", "bbbb", 'op.drop_column("news", "title")',
    'op.add_column("news", sa.Column("title", sa.Text))', "no title")

---A repository of an application, its database, and releases of it.
local Releases = {}
Releases.__index = Releases

---Commits some revisions, migrates from the second release on, and deploys; the commit.
---@param label string of the image
---@param files table<string, string> revisions
---@param behaviour? table of the image
function Releases:release(label, files, behaviour)
    local all = app.files(files)
    local commit = repository.commit(self.dir, all)
    -- Heads are noted of the files beside the fly.toml.
    local config = (self.apart or self.dir) / "fly.toml"
    assert(fs.write(config, toml:format("from " .. label)))
    self.fly.register("registry.fly.io/web:" .. label, behaviour)
    local record = self.execute(function()
        if self.commit then
            migrations.upgrade { dir = self.dir, database = self.url }
        end
        return deploy { app = "web", config = config, commit = commit,
            image = "registry.fly.io/web:" .. label, wait_timeout = 1 }
    end)
    return commit, record
end

---What a rollback of the app gives; with the database, unless told otherwise.
function Releases:back(opts, plan)
    local all = { app = "web", to = 1, repository = self.dir, database = self.url }
    for name, value in pairs(opts or {}) do
        all[name] = value or nil
    end
    return self.execute(function() return rollback(all) end, plan)
end

local function notes_of(record)
    local lines = {}
    for i, note in ipairs(record.notes) do
        lines[i] = note.text
    end
    return table.concat(lines, "\n")
end

local urls = {
    postgresql = function() return postgres.start().url end,
    sqlite = function(dir) return "sqlite:///" .. dir .. "/app.db" end,
}

---v1 of an image that knows aaaa.
---@param opts? {apart?: boolean} apart: the fly.toml is elsewhere
local function with_releases(body, dialect, opts)
    fly_run.with(function(fly, execute)
        health.smoke_seconds = 0.2
        local dir = repository.folder()
        repository.git(dir, { "init", "-q", "-b", "main" })
        local state = fs.real(assert(fs.temp_dir("database")))
        local self = setmetatable({ fly = fly, execute = execute, dir = dir,
            url = urls[dialect or "sqlite"](state), apart = opts and opts.apart and state },
            Releases)
        local commit, record = self:release("a", { ["a.py"] = first })
        assert.equal("done", record.status, tostring(record.error))
        self.commit = commit
        body(self)
        fs.remove(state, { recursive = true })
    end)
end

local function is_done(record)
    assert.equal("done", record.status, tostring(record.error))
    return record
end

---Refused with this code; nothing changed.
local function is_refused(code, record)
    assert.equal(code, record.error and record.error.code, tostring(record.error))
    assert.same({}, fly_run.kinds(record))
    return record.error
end

for _, dialect in ipairs(matrix.pick({ "postgresql" }, { "postgresql", "sqlite" })) do
    describe("fly.rollback on " .. dialect, function()
        it("goes on when the database is ahead by what only adds, and names it", function()
            with_releases(function(self)
                is_done(select(2, self:release("b", { ["b.py"] = adds })))
                local plan = is_done(self:back({}, true))
                assert.equal("fly.release.create", plan.effects[1].kind)
                local record = is_done(self:back {})
                assert.matches("ahead of v1 by revisions that only add to it: bbbb an address "
                    .. "(additive)",
                    notes_of(record), 1, true)
                for _, effect in ipairs(record.effects) do
                    assert.is_true(effect.kind ~= "fly.release_command.run")
                end
                for _, id in ipairs(record.value.machines) do
                    local machine = self.fly.get(id)
                    assert.equal("a", machine.image_ref.tag)
                    assert.equal("from a", machine.config.env.GREETING)
                    assert.equal(self.commit, machine.config.metadata.dgrun_commit)
                end
                assert.equal(3, record.value.release.version)
                assert.same({ "bbbb" }, migrations.current { database = self.url })
                -- And forward again: what v2 was is known too.
                is_done(self:back { to = 2 })
                assert.equal("from b", self.fly.get(record.value.machines[1]).config.env.GREETING)
            end, dialect)
        end)

        it("is refused when a revision takes away, naming each with class and why", function()
            with_releases(function(self)
                is_done(select(2, self:release("b", { ["b.py"] = adds, ["c.py"] = drops })))
                local e = is_refused("refused.database_ahead", self:back {})
                assert.matches("ahead of v1 by 2 revisions, and its image may not work with 1 of "
                    .. "them", e.msg, 1, true)
                assert.matches("bbbb an address (additive)\n", e.msg, 1, true)
                assert.matches("cccc no title (destructive)\n    ALTER TABLE news DROP COLUMN "
                    .. "title (ban-drop-column): its data is lost", e.msg, 1, true)
                assert.matches('with the files of v2 .+target = "aaaa"', e.hint)
                is_refused("refused.database_ahead", self:back({}, true))

                -- What the hint says, works.
                is_done(self.execute(function()
                    migrations.downgrade { dir = self.dir, database = self.url, target = "aaaa" }
                end))
                is_done(self:back {})
            end, dialect)
        end)
    end)
end

describe("fly.rollback", function()
    matrix.full_it("lists what rewrites and what is not known, and goes on", function()
        with_releases(function(self)
            local index = app.revision("bbbb", "aaaa", 'op.create_index("i", "news", ["title"])')
            local looks = app.revision("cccc", "bbbb",
                'op.get_bind().execute(sa.text("SELECT 1")).fetchall()')
            is_done(select(2, self:release("b", { ["b.py"] = index, ["c.py"] = looks })))
            local record = is_done(self:back {})
            assert.matches("revisions that lose no data, as far as is known: bbbb change bbbb "
                .. "(rewriting), "
                .. "cccc change cccc (", notes_of(record), 1, true)
        end, "postgresql")
    end)

    it("is refused for what is lost, by name, until a reason is given", function()
        with_releases(function(self)
            local index = app.revision("bbbb", "aaaa", 'op.create_index("i", "news", ["title"])')
            local loses = app.revision("cccc", "bbbb", 'op.drop_column("news", "title")')
            is_done(select(2, self:release("b", { ["b.py"] = index, ["c.py"] = loses })))
            local e = is_refused("refused.database_ahead", self:back {})
            assert.matches("by 2 revisions, and its image may not work with 1 of them", e.msg)
            assert.matches("bbbb change bbbb (rewriting)\n    CREATE INDEX i ON news (title) "
                .. "(require-concurrent-index-creation)", e.msg, 1, true)
            assert.matches("cccc change cccc (destructive)", e.msg, 1, true)
            is_refused("input.invalid", self:back { despite_database = " " })
            local record = is_done(self:back { despite_database = "tried on staging" })
            assert.matches("cccc change cccc.+accepted: tried on staging",
                notes_of(record))
        end, "postgresql")
    end)

    it("is refused for a new column without which old code cannot insert", function()
        with_releases(function(self)
            local needs = app.revision("bbbb", "aaaa",
                'op.add_column("news", sa.Column("url", sa.Text, nullable=False,\n'
                .. '    server_default="x"))\nop.alter_column("news", "url", server_default=None)')
            is_done(select(2, self:release("b", { ["b.py"] = needs })))
            local e = is_refused("refused.database_ahead", self:back {})
            assert.matches("bbbb change bbbb (additive)\n    ALTER TABLE news ALTER COLUMN url "
                .. "DROP DEFAULT (new-field-becomes-required): code that does not know the column",
                e.msg, 1, true)
        end, "postgresql")
    end)

    matrix.full_it("finds its way through branches and merges, also those with code", function()
        with_releases(function(self)
            local merge = app.revision("dddd", nil, 'op.drop_column("news", "title")')
            merge = merge:gsub("down_revision = None", 'down_revision = ("bbbb", "cccc")')
            is_done(select(2, self:release("b", { ["b.py"] = adds, ["d.py"] = merge,
                ["c.py"] = app.revision("cccc", "aaaa", 'op.execute("SELECT 1")') })))
            local e = is_refused("refused.database_ahead", self:back {})
            assert.matches("by 3 revisions, and its image may not work with 1 of them", e.msg)
            assert.matches("dddd change dddd %(destructive%)", e.msg)
        end)
    end)

    it("is refused for what it cannot read, and says where it looked", function()
        with_releases(function(self)
            local commit, record = self:release("b", { ["b.py"] = adds })
            is_done(record)
            -- Without the database, the releases tell where it is, and no SQL is known.
            local e = is_refused("refused.database_ahead", self:back { database = false })
            assert.matches("bbbb an address (unreadable)\n    no "
                .. "database was given", e.msg, 1, true)
            -- A clone that does not have the commits.
            local other = repository.new()
            e = is_refused("refused.database_ahead", self:back { repository = other })
            assert.matches("bbbb (unreadable)\n    its revision file "
                .. "is not available", e.msg, 1, true)
            assert.matches("Looked in v2 %(" .. commit:sub(1, 12) .. "%): .*no commit, tag, or "
                .. "branch",
                e.hint)
            assert.matches("Looked in HEAD: no alembic.ini", e.hint, 1, true)
            -- A folder with the files does as well.
            is_done(self:back { repository = other, dir = self.dir })
        end)
    end)

    matrix.full_it("counts what a release that failed has migrated", function()
        with_releases(function(self)
            is_done(select(2, self:release("b", {})))
            local _, failed = self:release("c", { ["b.py"] = adds }, { health = "critical" })
            assert.equal("failed", failed.status)
            local e = is_refused("refused.database_ahead", self:back { database = false })
            assert.matches("ahead of v1 by 1 revision,.-bbbb", e.msg)
            local record = is_done(self:back {})
            assert.matches("only add to it: bbbb", notes_of(record))
        end)
    end)

    it("is refused when the database lacks what the old image needs", function()
        with_releases(function(self)
            is_done(select(2, self:release("b", { ["b.py"] = adds })))
            is_done(select(2, self:release("c", {})))
            is_done(self.execute(function()
                migrations.downgrade { dir = self.dir, database = self.url, target = "aaaa" }
            end))
            local e = is_refused("refused.database_differs", self:back { to = 2 })
            assert.equal("the image of v2 needs bbbb, which the database does not have: it is at "
                .. "aaaa", e.msg)
            is_done(self:back {})
        end)
    end)

    matrix.full_it("reads from the commit what was not noted with a release", function()
        with_releases(function(self)
            is_done(select(2, self:release("b", { ["b.py"] = (drops:gsub("bbbb", "aaaa")) })))
            local e = is_refused("refused.database_ahead", self:back {})
            assert.matches("cccc no title %(destructive%)", e.msg)
            local record = is_done(self:back { repository = repository.new() })
            assert.matches("not compared with the database, which is at .*: no record shows which "
                .. "revisions the image of v1 knows", notes_of(record))
        end, nil, { apart = true })
    end)

    it("names the releases there are", function()
        with_releases(function(self)
            local e = is_refused("fly.no_release", self:back { to = 9 })
            assert.equal("Complete releases: v1.", e.hint)
        end)
    end)

    it("needs no revisions where there are none", function()
        fly_run.with(function(fly, execute)
            health.smoke_seconds = 0.2
            for _, name in ipairs { "a", "b" } do
                fly.register("registry.fly.io/web:" .. name)
                assert(fs.write(fly.dir / "fly.toml", 'app = "web"\n[http_service]\n'
                    .. "internal_port = 1\n"))
                execute(function()
                    return deploy { app = "web", config = fly.dir / "fly.toml",
                        image = "registry.fly.io/web:" .. name }
                end)
            end
            local record = execute(function() return rollback { app = "web" } end)
            assert.equal("done", record.status, tostring(record.error))
            assert.equal("a", fly.get(record.value.machines[1]).image_ref.tag)
        end)
    end)
end)
