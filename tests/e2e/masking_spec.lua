-- What machines print is masked with the values of all sources of their environment; a source that
-- cannot be opened is named.
local fs = require "host.fs"
local local_fly = require "support.local_fly"
local proc = require "host.proc"

local image = "registry.fly.io/web:a"

-- One of each kind of source.
local values = { FROM_FILE = "canary-of-a-file-1", FROM_AGE = "canary-of-age-22",
    FROM_COMMAND = "canary-of-a-command-3", FROM_ENV = "canary-of-the-environment-4",
    HIDDEN = "canary-that-another-hides-5" }

local environments = [[
environments:
  prod:
    app: web
    config: fly.toml
    secrets:
      sources: [env, dotenv: .env.prod, { age: .env.age, identity: key.txt },
        { command: [cat, secrets.json], at: fields }]
      required: [FROM_FILE, FROM_AGE, FROM_COMMAND, FROM_ENV]
  stage: { app: web-stage, config: fly.toml, secrets: { sources: [env, dotenv: .env.stage],
    required: [STAGE_KEY] } }
templates:
  review:
    app: web-pr-{pr}
    url: https://web-pr-{pr}.fly.dev
    config: fly.toml
    secrets: { sources: [{ age: .env.age, identity: key.txt }], required: [FROM_AGE] }
]]

---A machine whose log, and whatever is run in it, holds all of the values.
local function with_app()
    local fly = local_fly.start()
    local said = {}
    for _, value in pairs(values) do
        said[#said + 1] = ("value='%s'"):format(value)
    end
    local text = table.concat(said, "\n") .. "\n"
    local function write(name, content)
        assert(fs.write(fly.dir / name, content, { mode = "0600" }))
    end
    write("scripts/environments.yaml", environments)
    write(".env.prod", ("FROM_FILE=%s\n"):format(values.FROM_FILE))
    write("secrets.json", ([[{"fields": [{"label": "FROM_COMMAND", "value": "%s"},
        {"label": "FROM_FILE", "value": "%s"}]}]]):format(values.FROM_COMMAND, values.HIDDEN))
    local key = assert(proc.run { argv = { "age-keygen" } })
    write("key.txt", key.stdout)
    assert(proc.run { stdin = ("FROM_AGE=%s\n"):format(values.FROM_AGE), argv = { "age", "-r",
        key.stdout:match "public key: (%S+)", "-o", fly.dir / ".env.age" } })
    fly.env.FROM_ENV = values.FROM_ENV
    fly:register(image, { log = said, exec = { stdout = text, stderr = text } })
    local made = fly:web("web", image, { name = "web-1" })
    fly:wait("web", made.id, "started")
    return fly
end

local ways = { { "logs", "prod" }, { "logs", "prod", "--json" }, { "logs" },
    { "logs", "--app", "web" }, { "exec", "prod", "--", "env" },
    { "exec", "prod", "--json", "--", "env" }, { "exec", "web", "-m", "web-1", "--", "env" },
    { "machines", "exec", "prod", "web-1", "--json", "--", "env" } }

describe("what machines print", function()
    it("is masked with the values of all sources", function()
        local fly = with_app()
        for _, argv in ipairs(ways) do
            local result = fly:run(argv)
            assert.equal(0, result.status, result.all)
            assert.matches("value='%*%*%*'", result.stdout)
            assert.is_nil(result.all:find("canary", 1, true), table.concat(argv, " ")
                .. result.all)
            assert.is_nil(result.stderr:find "prod: [^\n]*not masked", result.stderr)
        end
    end)

    it("is masked as far as sources can be opened, and the others are named", function()
        local fly = with_app()
        fs.remove(fly.dir / "secrets.json")
        assert(fs.remove(fly.dir / "key.txt"))
        for _, argv in ipairs(ways) do
            local result = fly:run(argv)
            assert.equal(0, result.status, result.all)
            for _, text in ipairs {
                "prod: values of .env.age are not masked: the identity file key.txt does not exist",
                "prod: values of `cat secrets.json` are not masked: cat exited with status 1",
            } do
                assert.matches(text, result.stderr, 1, true)
                assert.is_nil(result.stdout:find(text, 1, true))
            end
            assert.is_nil(result.all:find(values.FROM_FILE, 1, true))
            assert.is_nil(result.all:find(values.FROM_ENV, 1, true))
        end
        -- A value that is only elsewhere.
        local result = fly:run { "logs", "stage" }
        assert.matches("stage: the value of STAGE_KEY is not masked: it was not found "
            .. "(looked in the "
            .. "environment and then .env.stage (no such file))", result.stderr, 1, true)
    end)

    it("is masked for a review app with the sources of its template", function()
        local fly = with_app()
        assert.equal(201, (fly:call("POST", "/v1/apps", { name = "web-pr-7",
            org_slug = "personal" })))
        fly:register("registry.fly.io/web-pr-7:a", { log = { "value=" .. values.FROM_AGE } })
        local made = fly:web("web-pr-7", "registry.fly.io/web-pr-7:a")
        fly:wait("web-pr-7", made.id, "started")
        local result = fly:run { "logs", "--app", "web-pr-7" }
        assert.matches("value=***", result.stdout, 1, true)
    end)
end)
