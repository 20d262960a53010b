-- A run that is killed leaves nothing that the next one does not find and settle.
local fs = require "host.fs"
local proc = require "host.proc"
local sample = require "support.sample"
local task = require "dgrun.task"

local deploy = { "--sandbox", "prod_deploy", "--ref", "v1.2.0" }

---Starts a deploy and sends the signal when a line with `text` is printed: its exit, all lines.
local function interrupted(project, text, signal)
    assert(fs.mkdir(project.dir / "tmp")) -- who is killed cannot remove its temporary folder
    local child = assert(proc.spawn {
        argv = { os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe", unpack(deploy) },
        cwd = project.dir, env = { TMPDIR = project.dir / "tmp" },
    })
    local lines, sent = {}, false
    for line in function() return child:read() end do
        lines[#lines + 1] = line.line
        if not sent and line.line:find(text, 1, true) then
            sent = true
            child:kill(signal)
        end
    end
    assert(sent, "no line with " .. text .. " in:\n" .. table.concat(lines, "\n"))
    return child:wait(), table.concat(lines, "\n")
end

---The processes that work below the project's folder, once those that end have ended.
local function wait_for_no_process(project)
    local function count()
        local n = 0
        for _, pid in ipairs(fs.list "/proc") do
            local cwd = pid:match("^%d+$") and fs.real("/proc/" .. pid .. "/cwd")
            n = n + (cwd and cwd:sub(1, #project.dir) == project.dir and 1 or 0)
        end
        return n
    end
    task.timeout(30, function()
        while count() > 0 do
            task.sleep(0.05)
        end
    end)
end

local function converges(project)
    local run = project:run(deploy)
    assert.equal(0, run.status, run.all)
    assert.same({ { version_num = "9caf00c0de09" } },
        project:query("prod.db", "SELECT version_num FROM alembic_version"))
    project:with_fly(function(call)
        local _, machines = call("GET", "/v1/apps/draft-app-prod/machines")
        assert.equal(3, #machines)
        local _, secrets = call("GET", "/v1/apps/draft-app-prod/secrets")
        assert.equal(5, #secrets.secrets)
    end)
    local again = project:run(deploy)
    assert.equal(0, again.status, again.all)
    assert.matches("Nothing changed", again.stdout)
end

describe("a deploy that is killed", function()
    for _, text in ipairs {
        "Running upgrade 3c4f00c0de03", "set ACCESS_LOG", "build image", "create a release",
        "run the release command", "create a machine of group app", "create the cron machine",
        "answered 200",
    } do
        it(("at '%s' is finished by the next one, or by itself"):format(text), function()
            for _, again in ipairs { deploy, { "resume" } } do
                local project = sample.new()
                assert.equal(9, interrupted(project, text, "SIGKILL").signal)
                wait_for_no_process(project)
                local run = project:run(again)
                -- At the last of these texts it may have ended before the signal came.
                if run.status == 2 and run.all:find("no interrupted run", 1, true) then
                    run = project:run(deploy)
                end
                assert.equal(0, run.status, run.all)
                converges(project)
            end
        end)
    end
end)

describe("a deploy that is interrupted", function()
    for signal, status in pairs { SIGINT = 130, SIGTERM = 143 } do
        it(("by %s says what was done, and what to do next"):format(signal), function()
            local project = sample.new()
            local exit, all = interrupted(project, "create a machine of group app", signal)
            assert.equal(status, exit.status, all)
            assert.matches("apply 9 revisions", all, 1, true)
            assert.matches("begun, but not known to be done", all, 1, true)
            local id = all:match("next   Go on where it stopped: dgrun resume (%S+)")
            assert.is_string(id, all)
            wait_for_no_process(project)
            local resumed = project:run { "resume" }
            assert.equal(0, resumed.status, resumed.all)
            assert.matches("attempt 2 of " .. id, resumed.all, 1, true)
            assert.matches("Checkout  done before", resumed.all, 1, true)
            converges(project)
        end)
    end
end)
