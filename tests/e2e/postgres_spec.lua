local full_it = require("support.matrix").full_it
local postgres = require "support.postgres"
local sample = require "support.sample"

describe("with PostgreSQL", function()
    it("deploys: asyncpg for the application, libpq for dgrun", function()
        local server = postgres.start()
        local project = sample.new()
        local env = { DATABASE_URL = server.async_url }
        local plan = project:run({ "--sandbox", "plan", "prod_deploy", "--ref", "v1.2.0" },
            { env = env })
        assert.equal(0, plan.status, plan.all)
        assert.matches("apply 9 revision", plan.stdout, 1, true)

        local run = project:run({ "--sandbox", "prod_deploy", "--ref", "v1.2.0" }, { env = env })
        assert.equal(0, run.status, run.all)
        local connection = assert(require("host.postgres").connect { url = server.url })
        assert.same({ { version_num = "9caf00c0de09" } },
            connection:query "SELECT version_num FROM alembic_version")
        connection:close()

        local again = project:run({ "--sandbox", "prod_deploy", "--ref", "v1.2.0" }, { env = env })
        assert.matches("Nothing changed", again.stdout)
    end)

    full_it("keeps the password in its URL to itself, whole deploys long", function()
        local server = postgres.start()
        local project = sample.new()
        local url = server.async_url:gsub("dgrun@", "dgrun:pa%%%%24%%%%24-canary%%%%2Fword@")
        local env = { DATABASE_URL = url, DGRUN_DEBUG = "1" }
        for _, argv in ipairs {
            { "--sandbox", "plan", "prod_deploy", "--ref", "v1.2.0" },
            { "--sandbox", "--trace", "prod_deploy", "--ref", "v1.2.0" },
            { "--sandbox", "prod_deploy", "--ref", "v1.2.0" },
        } do
            local run = project:run(argv, { env = env })
            assert.equal(0, run.status, run.all)
            assert.matches("event=", run.stderr) -- the debug log is on
            assert.is_nil(run.all:find("canary", 1, true), run.all)
        end
        local found = assert(require("host.proc").run {
            argv = { "grep", "-rl", "-e", "canary", "-e", "Y2FuYXJ5", "-e", "NhbmFye", "-e",
                "jYW5hcn", project.dir / ".dgrun", project.dir / "scripts" } })
        assert.equal("", found.stdout)
        assert.equal(1, found.status)
    end)

    it("reads only in a plan", function()
        local server = postgres.start()
        local project = sample.new()
        project:write("scripts/writer.lua", ([[
            local connection = assert(require("host.postgres").connect { url = %q })
            local rows, e = connection:query("CREATE TABLE written(a int)")
            connection:close()
            error(e, 0)]]):format(server.url))
        local plan = project:run { "plan", "writer" }
        assert.equal(1, plan.status, plan.all)
        assert.matches("read%-only", plan.stderr)
    end)
end)
