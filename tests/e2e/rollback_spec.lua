-- dgrun rollback on the sample project.
local fs = require "host.fs"
local json = require "dgrun.core.json"
local proc = require "host.proc"
local sample = require "support.sample"

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local function good(result)
    assert.equal(0, result.status, result.all)
    return result
end

local destructive = [[
"""nobody needs players"""

from alembic import op

revision = "a1b2c3d4e5f6"
down_revision = "9caf00c0de09"
branch_labels = None
depends_on = None


def upgrade():
    op.drop_table("players")


def downgrade():
    pass
]]

---Three releases: v1.2.0, a commit whose migration destroys something, and one behind it, which
---needs the same database.
local function three_releases()
    local project = sample.new()
    good(project:run { "--sandbox", "prod_deploy", "--ref", "v1.2.0", "--image",
        project:image "one" })
    for i, files in ipairs { { ["alembic/versions/0010_players.py"] = destructive },
        { ["app/extra.py"] = "# more\n" } } do
        project:commit(files)
        good(project:run { "--sandbox", "prod_deploy", "--allow-older", "--image",
            project:image(({ "two", "three" })[i]) })
    end
    return project
end

---The digests that machines run, each once.
local function digests(project)
    local rows = json.decode(good(project:run { "--sandbox", "machines", "prod", "--json" }).stdout)
    local list, seen = {}, {}
    for _, row in ipairs(rows) do
        local digest = row.image:match "@(.*)$"
        list[#list + 1] = not seen[digest] and digest or nil
        seen[digest] = true
    end
    return list
end

local function releases(project)
    return json.decode(good(project:run { "--sandbox", "releases", "prod", "--json" }).stdout)
end

---Rolls back, and kills it when it says so.
local function killed(project, text)
    local child = assert(proc.spawn { cwd = project.dir, clean_env = true,
        argv = { binary, "--sandbox", "rollback", "prod" },
        env = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8",
            TMPDIR = os.getenv "TMPDIR", DGRUN_STDLIB = os.getenv "DGRUN_STDLIB" } })
    for item in function() return child:read() end do
        if item.line:find(text, 1, true) then
            child:kill "SIGKILL"
        end
    end
    assert.equal(9, child:wait().signal)
end

describe("dgrun rollback", function()
    it("goes back to the release before, web and cron machines, also when it is killed", function()
        local project = three_releases()
        local list, newest = releases(project), digests(project)
        assert.equal(3, #list)
        assert.equal(1, #newest)

        local before = project:snapshot()
        local plan = good(project:run { "--sandbox", "plan", "rollback", "prod" })
        assert.matches("back to v2 of draft%-app%-prod: " .. list[2].image:gsub("%p", "%%%0"),
            plan.stdout)
        assert.matches("update machine", plan.stdout)
        assert.matches("update the cron machine", plan.stdout)
        assert.equal(before, project:snapshot())

        local refused = project:run { "--sandbox", "rollback", "prod", "--to", "1" }
        assert.equal(3, refused.status, refused.all)
        assert.matches("the database is", refused.stderr)
        assert.matches("nothing was changed", refused.stderr)
        local lost = project:run { "--sandbox", "rollback", "prod", "--to", "9" }
        assert.equal(1, lost.status)
        assert.matches("has no complete release v9", lost.stderr)
        assert.matches("WHERE is required", project:run({ "rollback" }).stderr)
        assert.same(newest, digests(project))

        killed(project, "update machine")
        local resumed = good(project:run { "resume" })
        assert.matches("Choose +already done", resumed.stderr)
        assert.matches("release +v4 of draft%-app%-prod", resumed.stdout)
        local older = digests(project)
        assert.equal(1, #older)
        assert.not_equal(newest[1], older[1])
        local now = releases(project)[1]
        assert.same({ 4, "complete", list[2].image, list[2].commit },
            { now.version, now.status, now.image, now.commit })

        good(project:run { "--sandbox", "rollback", "prod", "--to", "3" })
        assert.same(newest, digests(project))
        local despite = good(project:run { "--sandbox", "rollback", "prod", "--to", "1",
            "--despite-database", "nobody reads the table" })
        assert.matches("accepted: nobody reads the table", despite.stderr)
        assert.equal(list[3].image, releases(project)[1].image)
    end)
end)
