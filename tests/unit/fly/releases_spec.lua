local fly_run = require "support.fly_run"
local releases = require "dgrun.fly.releases"
local wire = require "support.wire"

describe("releases", function()
    it("tell version, status, image, commit and who made them", function()
        fly_run.with(function(_, execute)
            execute(function()
                for i = 1, 3 do
                    local made = releases.create("web", { image = "registry.fly.io/web:r" .. i,
                        strategy = "rolling", definition = { app = "web",
                            dgrun = i == 2 and { commit = ("b"):rep(40), run = "r2" } or nil } })
                    releases.set_status(made.id, i == 3 and "failed" or "complete", "broken")
                end
            end)
            local rows = releases.overview { app = "web" }
            assert.equal(3, #rows)
            assert.same({ 3, "failed", "registry.fly.io/web:r3", "sandbox@example.com" },
                { rows[1].version, rows[1].status, rows[1].image, rows[1].user })
            assert.same({ ("b"):rep(40), "r2" }, { rows[2].commit, rows[2].run })
            assert.is_nil(rows[3].commit)
            assert.equal(1, #releases.overview { app = "web", limit = 1 })
            assert.equal("fly.no_app", select(2, pcall(releases.overview, { app = "nosuch" }))
                .code)
            local text = require("dgrun.ui.releases").table(rows)
            assert.matches("v2 +complete +%d+%-%d+%-%d+ %d+:%d+ +sandbox@example.com +r2 +"
                .. "bbbbbbbbbbbb", text)
        end)
    end)

    it("bear what Fly leaves out", function()
        wire.with("fo1_a", function(request)
            if request.path:find "graphql" then
                return { body = '{"data":{"app":{"releasesUnprocessed":{"nodes":[{"id":"a",'
                    .. '"version":1,"status":"complete","description":"","reason":"x",'
                    .. '"imageRef":null,"configDefinition":null,"createdAt":"2026-08-01T10:00:00Z",'
                    .. '"user":null}]}}}}' }
            end
            return { body = '{"name":"web"}' }
        end, function()
            local rows = releases.overview { app = "web" }
            assert.same({ { id = "a", version = 1, status = "complete", description = "x",
                created_at = "2026-08-01T10:00:00Z" } }, rows)
            assert.matches("v1 +complete +2026%-08%-01 10:00 +%- +%- +%- +x\n",
                require("dgrun.ui.releases").table(rows))
        end)
    end)

    it("have images that tables show shortly", function()
        local short = require("dgrun.core.image_ref").short
        assert.equal("v1", short("registry.fly.io/web:v1@sha256:" .. ("a"):rep(64)))
        assert.equal("sha256:aaaaaaaaaaaa", short("registry.fly.io/web@sha256:" .. ("a"):rep(64)))
        assert.equal("-", short "-")
        assert.equal("odd image", short "odd image")
    end)
end)
