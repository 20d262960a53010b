-- The workflow compared what it had deployed, repo:tag, with what the cron machine said it had,
-- repo:tag@sha256:…, as strings. They never were the same: good deploys failed every day. Somebody
-- then cut the digest off, and a deploy was green whose cron machine ran an older build of the tag.
local fast_project = require "support.fast_project"
local old_cron = require "support.old_cron"

local head = [[
local dg = require "dgrun"
local env = dg.environment "prod"

return dg.pipeline {
    description = "Production, as the workflow verified it",
    inputs = { image = { required = true } },
    run = function(input)
        dg.step("Verify", function()
            for _, machine in ipairs(dg.fly.api.machines("GET",
                    "/v1/apps/" .. env.app .. "/machines")) do
                local ref = machine.image_ref
                local has = ref.registry .. "/" .. ref.repository .. ":" .. ref.tag
                    .. "@" .. ref.digest
                %s
                assert(has == input.image, has .. " is not " .. input.image)
            end
        end)
    end,
}
]]

local function write(project, more)
    project:write("scripts/old_way.lua", (head:gsub("%%s", function() return more end)))
end

describe("a tag that is compared with a tag and a digest", function()
    it("fails a good deploy every day, the old way", function()
        local project = fast_project.new()
        local image = project:image("release")
        project:deploy("prod_deploy", "v1.2.0", image)
        write(project, "")
        local run = project:run("old_way", "--image", image)
        assert.equal(1, run.status, run.text)
        assert.matches(":release@sha256:%x+ is not registry.fly.io/draft%-app%-prod:release\n",
            run.text)
    end)

    it("is green with an older build on the cron machine, with the digest cut off", function()
        local project = fast_project.new()
        local image = project:image("release", { body = "yesterday" })
        project:deploy("prod_deploy", "v1.2.0", image)
        local before = old_cron.rested(project).image_ref.digest
        -- The tag is built anew; a deploy brings it to the web machines alone.
        project:image("release", { body = "today" })
        project:write("scripts/web_only.lua", [[
            local dg = require "dgrun"
            dg.fly.deploy { app = "draft-app-prod", config = "fly.prod.toml",
                image = "registry.fly.io/draft-app-prod:release" }]])
        local web = project:run "web_only"
        assert.equal(0, web.status, web.text)
        write(project, 'has = has:gsub("@.*", "")')
        local run = project:run("old_way", "--image", image)
        assert.equal(0, run.status, run.text)
        assert.equal(before, old_cron.rested(project).image_ref.digest)

        local told = project:run("cron", "prod", "--check")
        assert.equal(3, told.status, told.text)
        assert.matches("it runs draft%-app%-prod:release@" .. before:sub(1, 19)
            .. ", not draft%-app%-prod:release@sha256", told.text)
    end)

    it("is the same image for dgrun when it is, day after day, and another when it moved",
        function()
            local project = fast_project.new()
            local image = project:image("release", { body = "yesterday" })
            project:deploy("prod_deploy", "v1.2.0", image)
            old_cron.rested(project)
            for _ = 1, 2 do
                local run = project:deploy("prod_deploy", "v1.2.0", image)
                assert.matches("Nothing changed", run.text)
            end
            local _, moved = project:call("POST", "/sandbox/v1/images",
                { ref = image, behaviour = { body = "today" } })
            local run = project:deploy("prod_deploy", "v1.2.0", image)
            assert.matches("update the cron machine", run.text, 1, true)
            assert.equal(moved.digest, old_cron.rested(project).image_ref.digest)
        end)
end)
