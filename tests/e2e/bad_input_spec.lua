local sample = require "support.sample"

---Runs it and expects this exit status, these texts, no traceback, and nothing changed.
local function refused(project, argv, status, texts, opts)
    local before = not (opts and opts.changes) and project:snapshot()
    local run = project:run(argv, opts)
    assert.equal(status, run.status, run.all)
    for _, text in ipairs(texts) do
        assert.matches(text, run.stderr, 1, true)
    end
    assert.is_nil(run.all:find("stack traceback", 1, true), run.all)
    if before then
        assert.equal(before, project:snapshot())
    end
    return run
end

describe("bad input", function()
    it("of the command line", function()
        local project = sample.new { fresh = true }
        refused(project, { "prod_deplyo" }, 2, { "prod_deplyo", "prod_deploy" })
        refused(project, { "../prod_deploy" }, 2, { "../prod_deploy" })
        refused(project, { "prod_deploy", "--reff", "x" }, 2, { "reff", "--ref" })
        refused(project, { "prod_deploy", "--allow-older=maybe" }, 2, { "allow" })
        refused(project, { "cron_setup" }, 2, { "environment" })
        refused(project, { "cron_setup", "--environment", "moon" }, 2, { "stage", "prod" })
        refused(project, { "scripts/nosuch.lua" }, 2, { "nosuch.lua" })
        refused(project, { "--nosuch", "list" }, 2, { "--nosuch" })
    end)

    it("of scripts", function()
        local project = sample.new { fresh = true }
        project:write("scripts/broken.lua", "local x = = 1\n")
        refused(project, { "broken" }, 2, { "scripts/broken.lua:1" })
        project:write("scripts/globals.lua", "print(1)\nprint(nosuch)\n")
        refused(project, { "globals" }, 1, { "undefined global 'nosuch'", "scripts/globals.lua:2" })
        project:write("scripts/option.lua",
            'require("dgrun").git.checkout { reff = "main" }\n')
        refused(project, { "option" }, 2, { "reff", "Did you mean 'ref'?", "option.lua:1" })
    end)

    it("of refs", function()
        local project = sample.new { fresh = true }
        refused(project, { "--sandbox", "prod_deploy", "--ref", "v9.9.9" }, 2, { "v9.9.9" },
            { changes = true })
        refused(project, { "--sandbox", "prod_deploy", "--ref=--upload-pack=x" }, 2,
            { "--upload-pack=x" }, { changes = true })
        refused(project, { "--sandbox", "prod_deploy", "--ref", "a\27[31mb" }, 2, { "ref" },
            { changes = true })
        assert.is_nil(project:read "prod.db")
    end)

    it("of files: YAML and TOML with line and column", function()
        local project = sample.new { fresh = true }
        local good = project:read "scripts/environments.yaml"
        project:write("scripts/environments.yaml", "environments:\n  prod: [1, 2\n  x: 1\n")
        refused(project, { "prod_deploy" }, 2, { "environments.yaml:3:" })
        project:write("scripts/environments.yaml",
            (good:gsub("config: fly.prod", "confg: fly.prod")))
        refused(project, { "prod_deploy" }, 2, { "confg", "config" })
        project:write("scripts/environments.yaml", good)
        project:commit { ["fly.prod.toml"] = 'app = "x"\n[deploy\n' }
        refused(project, { "--sandbox", "prod_deploy" }, 3, { "fly.prod.toml:2:", "Correct this" },
            { changes = true })
    end)

    it("of secrets: all that are missing are named before anything happens", function()
        local project = sample.new { fresh = true }
        project:write(".env.prod", "OTHER=1\n")
        local run = refused(project, { "--sandbox", "prod_deploy" }, 3,
            { "DATABASE_URL", "SECRET_KEY", ".env.prod", "nothing was changed" },
            { changes = true })
        assert.is_nil(run.stderr:find("Migrate", 1, true))
        assert.is_nil(project:read "prod.db")
    end)

    it("of the token, and an API that is not there", function()
        local project = sample.new { fresh = true }
        refused(project, { "prod_deploy", "--ref", "v1.2.0" }, 1, { "FLY_API_TOKEN", "--sandbox" },
            { changes = true })
        local fly = require("sandbox").start { dir = project.dir / "fly",
            apps = { "draft-app-prod" } }
        refused(project, { "prod_deploy", "--ref", "v1.2.0" }, 1, { "401", "token" }, {
            changes = true, env = { FLY_API_TOKEN = "fo1_wrong", FLY_FLAPS_BASE_URL = fly.url },
        })
        fly.close()
        refused(project, { "prod_deploy", "--ref", "v1.2.0" }, 1, { "127.0.0.1" }, {
            changes = true,
            env = { FLY_API_TOKEN = "fo1_x", FLY_FLAPS_BASE_URL = "http://127.0.0.1:1" },
        })
        assert.is_nil(project:read "prod.db")
    end)

    it("of migrations: several heads, and one that fails half-way", function()
        local project = sample.new { fresh = true }
        project:commit { ["alembic/versions/0010_other.py"] =
            'revision = "adaf00c0de10"\ndown_revision = "7a8f00c0de07"\n' }
        refused(project, { "--sandbox", "prod_deploy" }, 3,
            { "2 heads", "9caf00c0de09", "adaf00c0de10" }, { changes = true })
        assert.is_nil(project:read "prod.db")

        project:commit { ["alembic/versions/0010_other.py"] = [[
revision = "adaf00c0de10"
down_revision = "9caf00c0de09"


def upgrade():
    raise RuntimeError("no such column")
]] }
        refused(project, { "--sandbox", "prod_deploy" }, 1,
            { "no such column", "Applied: 1a2f00c0de01", "Not applied: adaf00c0de10" },
            { changes = true })
        assert.same({ { version_num = "9caf00c0de09" } },
            project:query("prod.db", "SELECT version_num FROM alembic_version"))
    end)

    it("of a release command that exits with 1: no machine is touched", function()
        local project = sample.new { fresh = true }
        local image = project:image("bad-release", { exit_code = 1, log = { "relation is gone" } })
        refused(project, { "--sandbox", "prod_deploy", "--ref", "v1.2.0", "--image", image }, 1,
            { "release command", "exited with code 1", "relation is gone", "No machine" },
            { changes = true })
        project:with_fly(function(call)
            local _, machines = call("GET", "/v1/apps/draft-app-prod/machines")
            assert.same({}, machines)
            local _, releases = call("GET", "/api/v1/apps/draft-app-prod/releases")
            assert.equal("failed", releases.releases[1].status)
        end)
    end)

    it("of a machine that never gets healthy, or crashes", function()
        local project = sample.new { fresh = true }
        project:edit("fly.prod.toml", "[deploy]\n", "[deploy]\nwait_timeout = \"2s\"\n")
        local image = project:image("sick", { health = "critical" })
        refused(project, { "--sandbox", "prod_deploy", "--image", image }, 1,
            { "is not healthy after 2 s", "servicecheck-00-http-8080", "503" }, { changes = true })
        image = project:image("crashing", { crash = true })
        refused(project, { "--sandbox", "prod_deploy", "--image", image }, 1, { "exit code 1" },
            { changes = true })
    end)

    it("of a child that prints 100 MB", function()
        local project = sample.new { fresh = true }
        project:write("scripts/noisy.lua", [[
            require("dgrun").proc.run { argv = { "head", "-c", "100000000", "/dev/zero" } }]])
        refused(project, { "noisy" }, 1, { "head" }, { changes = true })
    end)
end)
