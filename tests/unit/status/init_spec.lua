-- What status asks, and what it makes of the answers: a real repository, the local Fly, an Alembic
-- folder, a SQLite database.
local api = require "dgrun.fly.api"
local environment = require "dgrun.project.environment"
local fs = require "host.fs"
local target = require "dgrun.project.target"
local proc = require "host.proc"
local repository = require "support.repository"
local retry = require "dgrun.fly.retry"
local run = require "dgrun.run"
local sandbox = require "support.sandbox"
local status = require "dgrun.status"
local task = require "dgrun.core.task"

local environments = [[
environments:
  prod:
    app: web
    url: https://web.fly.dev
    secrets:
      sources: [dotenv: .env]
      required: [DATABASE_URL, KEY, ENV]
      optional: [SOME]
      literal: { ENV: prod }
    crons: [ { name: tick, config: fly.cron.toml, schedule: hourly } ]
  stage: { app: web-stage, url: https://web-stage.fly.dev }
]]

local cron_toml = 'app = "web"\nprimary_region = "ewr"\n[processes]\napp = "python tick.py"\n'

local function revision(id, down)
    return ('"""It"""\nrevision = "%s"\ndown_revision = %s\n'):format(id,
        down and '"' .. down .. '"' or "None")
end

---main: first - second - third, with one more revision in the second.
local function make_project()
    local dir, first = repository.new()
    local function commit(subject, files, hours)
        local date = ("@%d +0000"):format(require("host.time").wall() - hours * 3600)
        return repository.commit(dir, files, subject,
            { GIT_COMMITTER_DATE = date, GIT_AUTHOR_DATE = date })
    end
    assert(fs.write(dir / ".git/info/exclude", "/scripts/\n/.env\n*.db\n"))
    local project = { dir = dir }
    project.first = commit("Feed the news", {
        ["alembic.ini"] = "[alembic]\nscript_location = alembic\n", ["fly.cron.toml"] = cron_toml,
        ["alembic/versions/a.py"] = revision("aaaa") }, 84)
    project.second = commit("Players", { ["alembic/versions/b.py"] = revision("bbbb", "aaaa") }, 40)
    project.third = commit("Teams", { ["teams.txt"] = "x" }, 2)
    project.root_commit = first
    assert(fs.mkdir(dir / "scripts"))
    assert(fs.write(dir / "scripts/environments.yaml", environments))
    assert(fs.write(dir / ".env", ("DATABASE_URL=sqlite:///%s/a.db\nKEY=hidden-word\n"):format(dir),
        { mode = "0600" }))
    local db = assert(require("host.sqlite").open(dir / "a.db"))
    assert(db:exec [[CREATE TABLE alembic_version(version_num);
        INSERT INTO alembic_version VALUES ('aaaa')]])
    db:close()
    return project
end

---with(function(fly, project, ask) … end): ask returns what is told of the first of these targets,
---and the whole report.
local function with(body, opts)
    opts = opts or {}
    local project = make_project()
    sandbox.run(function(fly)
        api.use { token = fly.sandbox.token, machines_url = fly.sandbox.url, sandbox = true,
            api_url = fly.sandbox.url, uiex_url = fly.sandbox.url, site = fly.sandbox.site }
        task.defer(function() api.use {} end)
        local function ask(words, more, root)
            local report
            root = root or project.dir
            environment.look_from(root / "scripts")
            local record = run.execute({ name = "status", root = root, journal = false }, function()
                local all = { targets = target.list(words) }
                for name, value in pairs(more or {}) do
                    all[name] = value
                end
                report = status.ask(all)
            end)
            assert(record.status == "done", tostring(record.error))
            return report.environments[1], report
        end
        body(fly, project, ask)
    end, { apps = { "web", "web-stage" }, latency = opts.latency })
end

---A web machine of production, as a deploy of this commit left it.
local function deployed(fly, commit, label)
    label = label or "one"
    local ref = "registry.fly.io/web:" .. label
    fly.register(ref, { body = "hello" })
    local machine = fly.create { config = { image = ref, metadata = { dgrun_commit = commit,
        fly_platform_version = "v2", fly_process_group = "app" },
        services = sandbox.web_config.services, guest = sandbox.web_config.guest } }
    return fly.wait(machine.id, "started")
end

local function texts(found, source)
    local list = {}
    for _, problem in ipairs(found.problems) do
        list[#list + 1] = problem.source == source and problem.text or nil
    end
    return table.concat(list, "\n")
end

describe("status", function()
    it("asks Fly for three things of each environment, all before the first answer", function()
        with(function(fly, project, ask)
            deployed(fly, project.second)
            local events, send = {}, retry.send
            task.defer(function() retry.send = send end)
            retry.send = function(call)
                events[#events + 1] = call.what
                local answer = send(call)
                events[#events + 1] = "answer"
                return answer
            end
            local found = ask()
            retry.send = send
            assert.equal(project.second, found.commit.commit)
            local asked = { unpack(events, 1, 6) }
            table.sort(asked)
            assert.same({
                "GET /api/v1/apps/web-stage/releases?limit=10",
                "GET /api/v1/apps/web/releases?limit=10",
                "GET /v1/apps/web-stage/machines?include_leases=true",
                "GET /v1/apps/web-stage/secrets",
                "GET /v1/apps/web/machines?include_leases=true",
                "GET /v1/apps/web/secrets",
            }, asked)
            assert.equal(12, #events)
        end, { latency = 0.02 })
    end)

    it("tells what is, and what is not as it should be", function()
        with(function(fly, project, ask)
            local machine = deployed(fly, project.second)
            fly.call("POST", "/v1/apps/web/secrets", { values = { KEY = "x", OLD = "x" } })
            local _, made = fly.call("POST", "/api/v1/releases", { app_name = "web", build_id = 0,
                image = "registry.fly.io/web:one", strategy = "ROLLING", definition = {} })
            local id = made.release.id
            assert(fly.call("PATCH", "/api/v1/releases/" .. id, { status = "failed" }) == 200)
            local found = ask { "prod" }
            assert.same({}, found.unknown)

            local commit = found.commit
            assert.equal(project.second, commit.commit)
            assert.same({ "Players", "Ada Author", 1, 0, "main", 1 }, { commit.subject,
                commit.author, commit.behind, commit.ahead, commit.base, commit.machines })
            assert.equal(40, math.floor(commit.age / 3600 + 0.1))
            assert.equal("Teams", commit.commits[1].subject)

            assert.equal(machine.image_ref.digest, found.image.digest)
            assert.same({ 1, "failed" }, { found.release.version, found.release.status })
            assert.equal("v1 is failed", texts(found, "release"))
            assert.same({ started = 1 }, found.machines.groups[1].states)

            assert.same({ "DATABASE_URL", "ENV" }, found.secrets.missing)
            assert.same({ "OLD" }, found.secrets.undeclared)
            assert.equal("DATABASE_URL and ENV are not set", texts(found, "secrets"))

            assert.same({ "bbbb" }, found.migrations.pending)
            assert.same({}, found.migrations.to_come)
            assert.equal("the database lacks 1 migration of the deployed code",
                texts(found, "migrations"))
            assert.equal("missing", found.crons[1].kind)
            assert.equal("tick: it does not exist", texts(found, "crons"))
            assert.equal(200, found.site[1].status)
            assert.is_nil(found.lease)
            assert.is_nil(found.runs)
        end)
    end)

    it("gives a monitor all that is wrong, probes included", function()
        with(function(fly, project, ask)
            deployed(fly, project.third)
            local _, report = ask { "prod" }
            local e = status.verdict(report, { no_problem = true })
            assert.equal("refused.problems", e.code)
            assert.matches("prod: crons: tick: it does not exist", e.msg, 1, true)
            local environments_of = report.environments
            environments_of[1].problems = {}
            assert.is_nil(status.verdict(report, { no_problem = true }))
            environments_of[1].problems = { { source = "site", text = "/health answers 503" } }
            assert.equal("refused.problems", status.verdict(report, { no_problem = true }).code)
            environments_of[1].problems = {}
            environments_of[1].unknown = { machines = { code = "fly.server", msg = "down" } }
            assert.equal("status.unknown", status.verdict(report, { no_problem = true }).code)
            assert.is_nil(status.verdict(report, {}))
        end)
    end)

    it("says that nothing is deployed, and then asks for no site", function()
        with(function(_, _, ask)
            local found = ask { "stage" }
            assert.same({}, found.unknown)
            assert.equal("nothing is deployed", texts(found, "commit"))
            assert.is_nil(found.site)
        end)
    end)

    it("tells of each environment in the order in which it is asked for", function()
        with(function(_, _, ask)
            local _, report = ask { "stage", "prod" }
            assert.equal("stage", report.environments[1].name)
            assert.equal("prod", report.environments[2].name)
        end)
    end)

    it("leaves nothing behind", function()
        with(function(fly, project, ask)
            deployed(fly, project.second)
            local before = repository.snapshot(project.dir)
            ask()
            assert.equal(before, repository.snapshot(project.dir))
        end)
    end)
end)

describe("the deployed commit", function()
    it("may have what the branch has not", function()
        with(function(fly, project, ask)
            repository.git(project.dir, { "checkout", "-q", "-b", "hotfix", project.second })
            local hotfix = repository.commit(project.dir, { hot = "1" }, "Hot")
            repository.git(project.dir, { "checkout", "-q", "main" })
            deployed(fly, hotfix)
            local commit = ask({ "prod" }).commit
            assert.same({ "Hot", 1, 1, { "Teams" } }, { commit.subject, commit.behind,
                commit.ahead, { commit.commits[1].subject } })
        end)
    end)

    it("is compared with origin's branch where there is one", function()
        with(function(fly, project, ask)
            repository.bare(project.dir)
            repository.commit(project.dir, { more = "1" }, "Not pushed")
            deployed(fly, project.second)
            local commit = ask({ "prod" }).commit
            assert.same({ "origin/main", 1 }, { commit.base, commit.behind })
            assert.equal(0, ask({ "prod" }, { branch = "main" }).commit.ahead)
        end)
    end)

    it("is counted exactly through merges, and beyond the commits that are read at once", function()
        with(function(fly, project, ask)
            local function git(...)
                return repository.git(project.dir, { ... })
            end
            git("checkout", "-q", "-b", "side", project.root_commit)
            repository.commit(project.dir, { s1 = "1" }, "Side 1")
            repository.commit(project.dir, { s2 = "1" }, "Side 2")
            git("checkout", "-q", "main")
            git("merge", "-q", "--no-ff", "-m", "Merge the side", "side")
            deployed(fly, project.first)
            local function behind()
                local commit = ask({ "prod" }).commit
                assert.equal(tonumber(git("rev-list", "--count", commit.commit .. "..main")),
                    commit.behind)
                assert.equal(0, commit.ahead)
                return commit
            end
            assert.equal(5, #behind().commits)
            local stream, now = {}, require("host.time").wall()
            for i = 1, 320 do
                stream[i] = ("commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata 1\nx\n%s\n")
                    :format(now + i, i == 1 and "from refs/heads/main^0\n" or "")
            end
            local made = assert(proc.run { cwd = project.dir,
                argv = { "git", "fast-import", "--quiet" }, stdin = table.concat(stream) })
            assert.equal(0, made.status, made.stderr)
            assert.equal(325, behind().behind)
        end)
    end)

    it("that is not in the repository is told as such, and is not known", function()
        with(function(fly, project, ask)
            local lost = ("0123456789"):rep(4)
            deployed(fly, lost)
            local found, report = ask { "prod" }
            assert.equal(lost, found.commit.commit)
            assert.equal("the commit is not in this repository, which has no remote",
                found.commit.unknown)
            repository.bare(project.dir)
            assert.matches("git fetch", ask({ "prod" }).commit.unknown)
            local e = status.verdict(report, { max_age = 1 })
            assert.equal("status.unknown", e.code)
            assert.matches("not in this repository", e.msg)
        end)
    end)

    it("lacks a commit of the branch since the oldest one on the branch itself", function()
        with(function(fly, project, ask)
            local hours = 3600
            local function git(...)
                return repository.git(project.dir, { ... })
            end
            local function judged(limit)
                local found, report = ask { "prod" }
                local e = status.verdict(report, { max_behind_for = limit })
                return found.commit, e and e.code, e and e.msg
            end
            local machine = deployed(fly, project.third)
            local commit, code = judged(0)
            assert.same({ 0, nil }, { commit.behind_for, code })
            fly.call("DELETE", ("/v1/apps/web/machines/%s?force=true"):format(machine.id))

            -- Old work that is merged late counts from the merge.
            machine = deployed(fly, project.second)
            commit, code = judged(3 * hours)
            assert.equal(2, math.floor(commit.behind_for / hours + 0.1))
            assert.is_nil(code)
            local long_ago = { GIT_COMMITTER_DATE = "@1700000000 +0000" }
            git("checkout", "-q", "-b", "side", project.second)
            repository.commit(project.dir, { s1 = "1" }, "Side", long_ago)
            git("checkout", "-q", "main")
            git("merge", "-q", "--no-ff", "-m", "Merge the side", "side")
            local _, late, msg = judged(1 * hours)
            assert.equal("refused.stale", late)
            assert.matches("has been behind main for 2h, more than 1h", msg, 1, true)
            fly.call("DELETE", ("/v1/apps/web/machines/%s?force=true"):format(machine.id))

            -- A commit of another line: since the branch left it.
            git("checkout", "-q", "-b", "other", project.first)
            deployed(fly, repository.commit(project.dir, { o = "1" }, "Other"))
            git("checkout", "-q", "main")
            assert.equal(40, math.floor(judged(1).behind_for / hours + 0.1))
            deployed(fly, ("0123456789"):rep(4))
            deployed(fly, ("0123456789"):rep(4))
            assert.equal("status.unknown", select(2, judged(99 * hours)))
        end)
    end)

    it("is not compared within a shallow clone", function()
        with(function(fly, project, ask)
            local clone = repository.folder() / "clone"
            repository.git(project.dir, { "clone", "-q", "--depth", "2", "file://" .. project.dir,
                clone })
            assert(fs.mkdir(clone / "scripts"))
            assert(fs.copy(project.dir / "scripts/environments.yaml",
                clone / "scripts/environments.yaml"))
            deployed(fly, project.first)
            assert.matches("shallow", ask({ "prod" }, nil, clone).commit.unknown)
            deployed(fly, project.third)
            deployed(fly, project.third)
            local commit = ask({ "prod" }, nil, clone).commit
            assert.same({ "Teams", 0 }, { commit.subject, commit.behind })
            repository.commit(clone, { more = "1" }, "More")
            repository.git(clone, { "update-ref", "refs/remotes/origin/main", "HEAD" })
            assert.matches("shallow", ask({ "prod" }, nil, clone).commit.behind_unknown)
        end)
    end)

    it("of some machines only, or of none, is told", function()
        with(function(fly, project, ask)
            deployed(fly, project.second)
            deployed(fly, project.second)
            deployed(fly, project.first, "two")
            deployed(fly, nil)
            local found, report = ask { "prod" }
            assert.equal(project.second, found.commit.commit)
            assert.equal(project.first, found.commit.others[1].commit)
            assert.equal(("its machines differ: 2 run %s, 1 runs %s and 1 reports no commit")
                :format(project.second:sub(1, 12), project.first:sub(1, 12)),
                texts(found, "commit"))
            assert.matches("3 run one", texts(found, "image"))
            -- One that is too old is reason enough, whatever the others are.
            assert.equal("refused.stale", status.verdict(report, { max_age = 50 * 3600 }).code)
            assert.equal("status.unknown", status.verdict(report, { max_age = 99 * 3600 }).code)
        end)
        with(function(fly, _, ask)
            deployed(fly, nil)
            local found, report = ask { "prod" }
            assert.is_nil(found.commit)
            assert.equal("status.commit_unsaid", found.unknown.commit.code)
            assert.equal("status.unknown", status.verdict(report, { max_behind = 0 }).code)
            assert.equal("tick: it does not exist", texts(found, "crons"))
        end)
    end)
end)

describe("a source that does not answer", function()
    it("is unknown with its reason; the others are told", function()
        with(function(fly, project, ask)
            deployed(fly, project.second)
            local delays = retry.delays
            retry.delays = {}
            task.defer(function() retry.delays = delays end)
            fly.fault { path = "/secrets$", status = 500, times = 9 }
            local found = ask { "prod" }
            assert.same({ "secrets" }, { next(found.unknown) and (next(found.unknown)) })
            assert.equal("fly.server", found.unknown.secrets.code)
            assert.equal(project.second, found.commit.commit)
            assert.is_table(found.migrations)
        end)
    end)

    it("in time is unknown, and so is what needs it", function()
        with(function(fly, project, ask)
            deployed(fly, project.second)
            fly.fault { path = "/machines$", method = "GET", seconds = 60 }
            local found = ask({ "prod" }, { timeout = 1 })
            for _, name in ipairs { "commit", "image", "machines", "crons" } do
                assert.equal("no response within 1.0s", found.unknown[name].msg, name)
            end
            assert.is_table(found.secrets)
            assert.is_table(found.site)
        end)
    end)

    it("because Fly knows no such app, is told so", function()
        with(function(_, _, ask)
            local found = ask { target.of_app "nowhere" }
            for _, name in ipairs { "commit", "machines", "release", "secrets" } do
                assert.equal("Fly has no app named 'nowhere'", found.unknown[name].msg)
            end
        end)
    end)

    it("since the database cannot be reached, or its URL is not at hand", function()
        with(function(fly, project, ask)
            deployed(fly, project.second)
            local url = "DATABASE_URL=postgresql://app:word-of-pass@127.0.0.1:1/app\nKEY=k\n"
            assert(fs.write(project.dir / ".env", url, { mode = "0600" }))
            local found = ask { "prod" }
            assert.matches("refused", found.unknown.migrations.msg)
            assert.is_nil(found.unknown.migrations.msg:find("word-of-pass", 1, true))
            assert(fs.remove(project.dir / ".env"))
            found = ask { "prod" }
            assert.equal("secrets.missing", found.unknown.migrations.code)
            assert.is_table(found.secrets)
        end)
    end)

    it("since one variable of the process would be the database of both", function()
        with(function(_, project, ask)
            local text = "environments:\n"
            for _, name in ipairs { "prod", "stage" } do
                text = text .. ("  %s: { app: web, secrets: { sources: [env, dotenv: .env.%s], "
                    .. "required: [DGRUN_TEST_DB] } }\n"):format(name, name)
            end
            assert(fs.write(project.dir / "scripts/environments.yaml", text))
            local url = ("sqlite:///%s/a.db"):format(project.dir)
            proc.export("DGRUN_TEST_DB", url)
            local how = { database = "DGRUN_TEST_DB" }
            local found, report = ask(nil, how)
            for _, one in ipairs(report.environments) do
                assert.equal("status.whose_database", one.unknown.migrations.code)
            end
            assert.matches("applies to both prod and stage", found.unknown.migrations.msg)
            assert.same({ "aaaa" }, ask({ "prod" }, how).migrations.current)
        end)
    end)

    it("because the database accepts and then says nothing, is not waited for", function()
        with(function(fly, project, ask)
            local silent = "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); "
                .. "s.listen(); print(s.getsockname()[1], flush=True); time.sleep(600)"
            local child = assert(proc.spawn { argv = { "python3", "-c", silent } })
            local port = child:read().line
            deployed(fly, project.second)
            local env = ("DATABASE_URL=postgresql://app@127.0.0.1:%s/app\nKEY=k\n"):format(port)
            assert(fs.write(project.dir / ".env", env, { mode = "0600" }))
            local migrations = require "dgrun.status.migrations"
            local patience = migrations.patience
            migrations.patience = 0.3
            local found = ask { "prod" }
            migrations.patience = patience
            child:kill "SIGKILL"
            child:wait()
            assert.equal("the database did not respond within 0.3 s",
                found.unknown.migrations.msg)
            assert.is_table(found.commit)
        end)
    end)

    it("is no reason to go on when the run is cancelled", function()
        with(function(fly, project)
            deployed(fly, project.second)
            fly.fault { path = "/machines$", method = "GET", seconds = 60 }
            environment.look_from(project.dir / "scripts")
            local record = run.execute({ name = "status", root = project.dir, journal = false },
                function()
                    task.timeout(0.3, function()
                        status.ask { targets = target.list { "prod" }, timeout = 60 }
                    end)
                end)
            assert.equal("timeout", record.error.code)
        end)
    end)
end)
