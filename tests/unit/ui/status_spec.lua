-- The text of a report, as it stands where there is no terminal: 80 columns, no styles.
local format = require "dgrun.core.format"
local status = require "dgrun.status"
local ui = require "dgrun.ui.status"

local NOW = 1790000000

local function commit(hash, subject, hours)
    return { commit = hash:rep(40):sub(1, 40), subject = subject, author = "Dana Draft",
        time = NOW - hours * 3600, age = hours * 3600 }
end

local function environment(name, more)
    local deployed = commit("ab", "Players have a team, and the page that shows all of them at "
        .. "once is fast again", 84)
    deployed.machines, deployed.unsaid, deployed.others = 2, 0, {}
    deployed.behind, deployed.ahead, deployed.base = 2, 0, "origin/main"
    deployed.commits = { commit("cd", "Newest", 1), commit("ef", "Newer", 30) }
    local found = {
        name = name, app = "draft-app-" .. name, problems = {}, unknown = {}, commit = deployed,
        image = { image = "registry.fly.io/x:v1@sha256:" .. ("0"):rep(64), label = "v1",
            digest = "sha256:" .. ("0"):rep(64), machines = 2 },
        release = { version = 7, status = "complete", time = NOW - 302400, user = "d@example.com" },
        machines = { cordoned = 0, others = 0, leases = {}, groups = { { name = "app",
            machines = 3, states = { started = 2, stopped = 1 }, regions = { ewr = 2, iad = 1 },
            checked = 2, healthy = 2 } } },
        crons = { { name = "news", kind = "declared", schedule = "hourly", state = "stopped",
            last_tick = require("host.time").iso(NOW - 720), exit_code = 0, problems = {} } },
        migrations = { current = {}, pending = {}, base = "origin/main",
            to_come = { "9caf00c0de09", "aaaa", "bbbb", "cccc" } },
        secrets = { set = { "A", "B" }, missing = {}, undeclared = {} },
        runs = { { id = "20260801-100102-k3f9", name = "prod_deploy", inputs = { ref = "main" },
            status = "done", who = "dana", started = NOW - 302500, finished = NOW - 302400 } },
        site = { { path = "/health", good = true, status = 200, seconds = 0.0121 } },
    }
    for key, value in pairs(more or {}) do
        found[key] = value
    end
    return found
end

local function text(environments, verbose)
    return ui.text({ time = NOW, environments = environments }, { verbose = verbose })
end

describe("the text of a status", function()
    it("shows all sources, in their order", function()
        assert.same(status.sources, ui.order)
    end)

    it("is short, aligned and calm where all is well", function()
        assert.equal([[
prod  draft-app-prod  fine
  commit      abababababab Players have a team, and the page that shows all of …
              by Dana Draft, 3d 12h old, 2 behind origin/main
  image       v1, sha256:000000000000
  release     v7 complete, 3d 12h ago, by d@example.com
  machines    app: 2 started, 1 stopped, 2 healthy, 2 in ewr, 1 in iad
  cron        news: hourly, stopped, ran 12m ago, exit 0
  migrations  none pending
              4 new on origin/main: 9caf00c0de09, aaaa and 2 more
  secrets     2 set
  last run    prod_deploy --ref main done 3d 12h ago by dana
  site        /health 200 in 13 ms
]], text { environment "prod" })
    end)

    it("begins with what is wrong, then with what is not known, by reason", function()
        local reason = { code = "x", msg = "no response within 10s", hint = "Look there." }
        local prod = environment("prod", {
            problems = { { source = "secrets", text = "KEY is not set" },
                { source = "site", text = "/ready answered 503, not 200" } },
            unknown = { image = reason, release = reason },
        })
        prod.image, prod.release = nil, nil
        local lines = {}
        for line in text({ prod }):gmatch "[^\n]+" do
            lines[#lines + 1] = line
        end
        assert.same({
            "prod  draft-app-prod  2 problems, 2 unknown",
            "! secrets     KEY is not set",
            "              2 set",
            "! site        /ready answered 503, not 200",
            "              /health 200 in 13 ms",
            "? unknown     image, release: no response within 10s",
        }, { unpack(lines, 1, 6) })
        assert.matches("Look there.", text({ prod }, true), 1, true)
    end)

    it("keeps to 80 columns, whatever it says", function()
        local word = ("word "):rep(60)
        local prod = environment("prod", { unknown = { runs = { code = "x", msg = word } },
            problems = { { source = "lease", text = word } } })
        prod.runs = nil
        for line in text({ prod, environment "stage" }, true):gmatch "[^\n]+" do
            assert.is_true(format.width(line) <= 80, line)
        end
    end)

    it("names the commits that are not deployed when more is wanted", function()
        assert.is_nil(text({ environment "prod" }):find "Newest")
        assert.matches("+ cdcdcdcdcdcd 1h ago, Dana Draft: Newest",
            text({ environment "prod" }, true), 1, true)
    end)

    it("says what it does not know of a commit", function()
        local prod = environment "prod"
        prod.commit.unknown, prod.commit.subject = "the commit is not in this repository", nil
        prod.commit.behind_unknown = prod.commit.unknown
        assert.matches("? commit      abababababab: the commit is not in this repository",
            text { prod }, 1, true)
        assert.matches("1 unknown", text { prod })
    end)

    it("lets no control sequence of elsewhere through", function()
        local prod = environment "prod"
        prod.commit.subject = "\27[31mred\27[0m"
        prod.site[1].path = "/a\27]0;title\7"
        assert.is_nil(text({ prod }):find "\27")
    end)
end)
