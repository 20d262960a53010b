-- A key was replaced with `fly secrets set`, which brings secrets to the machines that flyctl
-- manages. The cron machine is none of them: it went on with the old key, which was revoked.
local fast_project = require "support.fast_project"
local fs = require "host.fs"
local old_cron = require "support.old_cron"
local repository = require "support.repository"

local APP = "draft-app-prod"

-- A real image: its job tells which key it has.
local files = {
    Dockerfile = 'FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nCMD ["python", "server.py"]\n',
    ["app/cli/cron_runner.py"] = 'import os\nprint("the key is", os.environ["GEMINI_API_KEY"])\n',
    ["server.py"] = [[
import http.server, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
http.server.HTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
]],
}

---What `fly secrets set` does: it sets them, and updates the machines that flyctl manages.
local like_flyctl = [[dg.step("Secrets", function()
            local answer = api.machines("POST", "/v1/apps/" .. env.app .. "/secrets", { json = {
                values = { GEMINI_API_KEY = env.secrets.GEMINI_API_KEY },
            } })
            for _, machine in ipairs(api.machines("GET", machines)) do
                if machine.config.metadata.fly_platform_version == "v2" then
                    update(machine, { min_secrets_version = answer.version })
                    wait(machine.id, "started")
                end
            end
        end)]]

local function set_key(project, key)
    local text = assert(fs.read(project.dir / ".env.prod")):gsub("GEMINI_API_KEY=[^\n]*\n", "")
    assert(fs.write(project.dir / ".env.prod", text .. "GEMINI_API_KEY=" .. key .. "\n",
        { mode = "0600" }))
end

---Production with an old key, which was replaced in .env.prod.
local function replaced()
    local project = fast_project.new()
    local toml = assert(fs.read(project.dir / "fly.prod.toml"))
    repository.commit(project.dir, { ["fly.prod.toml"] = toml:gsub("release_command[^\n]*", "") },
        "No release command: the image has no Alembic")
    repository.git(project.dir, { "push", "-q", "origin", "main" })
    local image = assert(fs.temp_dir "image")
    require("dgrun.core.task").defer(function() fs.remove(image, { recursive = true }) end)
    for path, text in pairs(files) do
        assert(fs.mkdir((image / path):match "^(.*)/", { parents = true }))
        assert(fs.write(image / path, text))
    end
    assert.equal(201, (project:call("POST", "/sandbox/v1/builds",
        { app = APP, label = "keys", dir = image })))
    set_key(project, "old-key")
    local reference = "registry.fly.io/" .. APP .. ":keys"
    project:deploy("prod_deploy", "main", reference)
    assert.matches("the key is old%-key", old_cron.log(project, old_cron.rested(project)))
    set_key(project, "new-key")
    return project, reference
end

---One more tick; what it wrote last.
local function last_line(project)
    old_cron.pass(project, 1)
    local machine = old_cron.rested(project)
    local last
    for line in old_cron.log(project, machine):gmatch "the key is [%w-]+" do
        last = line
    end
    return last
end

describe("a secret that is replaced", function()
    it("does not reach the cron machine, the old way, and the deploy is green", function()
        local project, image = replaced()
        old_cron.write(project, like_flyctl)
        local run = project:run("old_way", "--image", image)
        assert.equal(0, run.status, run.text)
        assert.equal("the key is old-key", last_line(project))

        local told = project:run("cron", "prod", "--check")
        assert.equal(3, told.status, told.text)
        assert.matches("it does not have the app's current secrets", told.text, 1, true)

        -- Whoever changed them: the cron machine gets them though nothing else is to be done.
        local setup = project:run("cron_setup", "--environment", "prod")
        assert.equal(0, setup.status, setup.text)
        assert.matches("update the cron machine", setup.text, 1, true)
        assert.equal("the key is new-key", last_line(project))
        local again = project:run("cron_setup", "--environment", "prod")
        assert.matches("Nothing changed", again.text)
    end)

    it("reaches the cron machine with a deploy of dgrun that changes nothing else", function()
        local project, image = replaced()
        local run = project:deploy("prod_deploy", "main", image)
        assert.matches("set GEMINI_API_KEY", run.text, 1, true)
        assert.matches("update the cron machine news-ingestion-cron", run.text, 1, true)
        assert.equal("the key is new-key", last_line(project))
        local told = project:run("cron", "prod", "--check")
        assert.equal(0, told.status, told.text)
    end)
end)
