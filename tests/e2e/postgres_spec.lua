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
