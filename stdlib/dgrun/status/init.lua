-- The status of environments: what runs, since when, how far behind, and what is wrong. All
-- sources are queried at once. A source that does not respond in time is unknown, with the reason;
-- the other sources are reported anyway.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local shared = require "dgrun.status.shared"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

---The facts about a target, in this order.
M.sources = { "commit", "image", "release", "machines", "crons", "migrations", "secrets",
    "lease", "runs", "site" }

---The module of each source. Its function of that name gets the target and returns the facts, if
---any, and the problems; it raises an error when it cannot find out.
local modules = { commit = "commit", image = "fly", release = "fly", machines = "fly",
    crons = "fly", migrations = "migrations", secrets = "fly", lease = "store", runs = "store",
    site = "site" }

---@class dgrun.status.options
---@field targets dgrun.target[]
---@field branch? string the branch to compare with, "main"
---@field database? string name of the secret with the URL of the database, "DATABASE_URL"
---@field timeout? number seconds, 10; a source that has not responded by then is unknown

---@class dgrun.status.problem
---@field source string
---@field text string

---@class dgrun.status.environment a source with nothing to report is absent
---@field name string
---@field app string
---@field url? string
---@field problems dgrun.status.problem[] in the order of the sources
---@field unknown table<string, {code: string, msg: string, hint?: string}> by source
---@field commit? dgrun.status.deployed
---@field image? dgrun.status.image
---@field release? dgrun.status.release
---@field machines? dgrun.status.machines
---@field crons? dgrun.status.cron[]
---@field migrations? dgrun.status.migrations
---@field secrets? dgrun.status.secrets
---@field lease? dgrun.status.lease
---@field runs? table[] as in `dgrun history --json`, newest first
---@field site? dgrun.status.probe[]

---@class dgrun.status.report
---@field time number unix seconds
---@field environments dgrun.status.environment[]

---Queries one source; errors become `unknown`.
local function ask_source(target, name)
    local ok, facts, problems = pcall(target.within, function()
        return require("dgrun.status." .. modules[name])[name](target)
    end)
    if ok then
        return { facts = facts, problems = problems or {} }
    elseif err.is(facts, "cancelled") then
        err.raise(facts)
    end
    local e = err.object(facts)
    return { unknown = { code = e.code, msg = e.msg, hint = e.hint }, problems = {} }
end

local function ask_target(target)
    local answers = task.map(M.sources, {}, function(name) return ask_source(target, name) end)
    local found = { name = target.name, app = target.app, unknown = {}, problems = json.array {},
        url = target.environment and target.environment.url }
    for i, name in ipairs(M.sources) do
        -- Before the first deploy, the site is not expected to respond.
        local deployed = name == "commit" or found.commit or found.unknown.commit
        local answer = (deployed or name ~= "site") and answers[i] or { problems = {} }
        found[name], found.unknown[name] = answer.facts, answer.unknown
        for _, text in ipairs(answer.problems) do
            found.problems[#found.problems + 1] = { source = name, text = text }
        end
    end
    return found
end

---Queries Fly, the repository, the database, the store, and the sites, all at once.
---    local report = dg.status.ask { targets = dg.targets { "prod" } }
---    print(report.environments[1].commit.behind)
---@param opts dgrun.status.options
---@return dgrun.status.report
function M.ask(opts)
    check.options(opts, { targets = "table", branch = "string?", database = "string?",
        timeout = "seconds?" }, "status.ask")
    return task.scope(function()
        local targets = shared.targets(opts)
        return { time = time.wall(),
            environments = json.array(task.map(targets, {}, ask_target)) }
    end)
end

---@class dgrun.status.limits
---@field max_age? number seconds
---@field max_behind? integer commits
---@field max_behind_for? number seconds since the first undeployed commit of the branch
---@field no_problem? boolean refuse any problem, including a failed probe

local function short(commit)
    return commit and commit:sub(1, 12) or "?"
end

---Why a commit is not within the limits; or why that is unknown.
local function judge_commit(one, limits)
    if one.unknown then
        return nil, ("%s: %s"):format(short(one.commit), one.unknown)
    elseif limits.max_age and one.age > limits.max_age then
        return ("the deployed commit %s is %s old, more than %s"):format(short(one.commit),
            format.age(one.age), format.age(limits.max_age))
    elseif limits.max_behind and not one.behind then
        return nil, one.behind_unknown
    elseif limits.max_behind and one.behind > limits.max_behind then
        return ("the deployed commit %s is %s behind %s, more than %d"):format(short(one.commit),
            format.count(one.behind, "commit"), one.base, limits.max_behind)
    elseif limits.max_behind_for and not one.behind_for then
        return nil, one.behind_unknown
    elseif limits.max_behind_for and one.behind_for > limits.max_behind_for then
        return ("the deployed commit %s has been behind %s for %s, more than %s"):format(
            short(one.commit), one.base, format.age(one.behind_for),
            format.age(limits.max_behind_for))
    end
end

---@return string[] refused
---@return string[] unknown
local function judge_commits(found, limits)
    local refused, unknown = {}, {}
    local facts = found.commit
    if not facts then
        local e = found.unknown.commit
        return refused, { e and e.msg or "nothing is deployed" }
    end
    for _, one in ipairs { facts, unpack(facts.others) } do
        local bad, unsure = judge_commit(one, limits)
        refused[#refused + 1] = bad
        unknown[#unknown + 1] = unsure
    end
    if facts.unsaid > 0 then
        unknown[#unknown + 1] = ("%s not report a commit"):format(
            format.count(facts.unsaid, "machine does", "machines do"))
    end
    return refused, unknown
end

---Errors of a source that was not configured; these are not problems.
local not_given = { ["status.no_database"] = true, ["status.whose_database"] = true }

---@return string[] problems of all sources
---@return string[] unknown
local function judge_all(found)
    local problems, unknown = {}, {}
    for i, problem in ipairs(found.problems) do
        problems[i] = ("%s: %s"):format(problem.source, problem.text)
    end
    for _, name in ipairs(M.sources) do
        local e = found.unknown[name]
        if e and not not_given[e.code] then
            unknown[#unknown + 1] = ("%s: %s"):format(name, e.msg)
        end
    end
    for _, one in ipairs(found.site or {}) do
        if one.good == nil then
            unknown[#unknown + 1] = ("site: %s: %s"):format(one.path, one.why)
        end
    end
    return problems, unknown
end

---Checks the report against limits, for monitors: `refused.stale` when a commit is not within the
---limits, `refused.problems` when something else is wrong and `no_problem` is set,
---`status.unknown` when the answer is unknown; nil when all is well. A refused commit is added to
---the problems of the report.
---@param report dgrun.status.report
---@param limits dgrun.status.limits
---@return dgrun.err?
function M.verdict(report, limits)
    check.options(limits, { max_age = "seconds?", max_behind = "integer?",
        max_behind_for = "seconds?", no_problem = "boolean?" }, "status.verdict")
    local limited = limits.max_age or limits.max_behind or limits.max_behind_for
    local lines, stale, bad = {}, false, false
    for _, found in ipairs(report.environments) do
        local problems, sources_unknown = {}, {}
        if limits.no_problem then
            problems, sources_unknown = judge_all(found)
        end
        local refused, unknown = {}, {}
        if limited then
            refused, unknown = judge_commits(found, limits)
        end
        stale, bad = stale or #refused > 0, bad or #problems > 0
        for i, text in ipairs(refused) do
            lines[#lines + 1] = ("%s: %s"):format(found.name, text)
            table.insert(found.problems, i, { source = "commit", text = text })
        end
        for _, text in ipairs(problems) do
            lines[#lines + 1] = ("%s: %s"):format(found.name, text)
        end
        for _, list in ipairs { unknown, sources_unknown } do
            for _, text in ipairs(list) do
                lines[#lines + 1] = ("%s: unknown: %s"):format(found.name, text)
            end
        end
    end
    if #lines == 0 then
        return nil
    end
    return err.new {
        op = "status",
        code = stale and "refused.stale" or bad and "refused.problems" or "status.unknown",
        msg = table.concat(lines, "\n"),
        hint = stale and "Deploy a newer commit, or raise the limit." or nil,
    }
end

return M
