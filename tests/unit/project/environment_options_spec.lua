local checkouts = require "dgrun.core.checkouts"
local environment = require "dgrun.project.environment"
local fs = require "host.fs"
local given = require "dgrun.project.environment_options"
local task = require "dgrun.core.task"

local YAML = [[
environments:
  stage:
    app: web
    url: https://web.fly.dev
    config: deploy/fly.toml
    crons:
      - { name: news-cron, config: deploy/cron.toml, schedule: hourly }
]]

local function env_of(yaml)
    local dir = fs.real(assert(fs.temp_dir "options"))
    task.defer(function()
        fs.remove(dir, { recursive = true })
        environment.look_from "."
    end)
    assert(fs.write(dir / "environments.yaml", yaml or YAML))
    environment.look_from(dir)
    return environment.get "stage"
end

local fill = { app = given.app, config = given.config, commit = given.commit, dir = given.dir,
    crons = given.crons }
local source = { dir = "/src", commit = ("a"):rep(40) }

describe("the options environment and source", function()
    it("stand for app, configuration, commit, folder and cron machines", function()
        local env = env_of()
        local opts = given.fill({ environment = env, source = source, ha = false }, fill, "x.y")
        assert.same({ app = "web", config = "/src/deploy/fly.toml", commit = ("a"):rep(40),
            dir = "/src", crons = env.crons, ha = false }, opts)
    end)

    it("give way to an option that is given by itself", function()
        local opts = given.fill({ environment = env_of(), source = source, app = "other",
            config = "mine.toml", crons = {} }, fill, "x.y")
        assert.equal("other", opts.app)
        assert.equal("mine.toml", opts.config)
        assert.same({}, opts.crons)
    end)

    it("leave options without them as they are", function()
        local opts = { app = "web" }
        assert.equal(opts, given.fill(opts, fill, "x.y"))
    end)

    it("are refused when they are something else", function()
        for _, opts in ipairs { { environment = { app = "web" } }, { environment = "stage" },
            { environment = env_of(), source = "/src" } } do
            local ok, e = pcall(given.fill, opts, fill, "x.y")
            assert.is_false(ok)
            assert.equal("input.invalid", e.code)
        end
    end)
end)

describe("a verb", function()
    it("that fails on a file of a checkout names its path in the repository", function()
        local dir = fs.real(assert(fs.temp_dir "source"))
        task.defer(function() fs.remove(dir, { recursive = true }) end)
        assert(fs.write(dir / "fly.toml", "app = 'web'\n[http_service]\ninternal_port = 'x'\n"))
        checkouts.add(dir, ("3bb87d4"):rep(6))
        local ok, e = pcall(require("dgrun.fly.config").load, dir / "fly.toml")
        assert.is_false(ok)
        assert.matches("^fly.toml:3 at 3bb87d4: http_service.internal_port", e.msg)
    end)
end)
