-- Hazards of the revisions that a branch adds or changes, from files alone, for pull requests.
local alembic_ini = require "dgrun.migrations.alembic_ini"
local check = require "dgrun.core.check"
local environment_of = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local git = require "host.git"
local plan = require "dgrun.migrations.plan"
local refs = require "dgrun.git_refs"
local revisions = require "dgrun.migrations.revisions"
local source = require "dgrun.migrations.source"

local M = {}

local OP = "migrations.lint"
local DEFAULTS = { "origin/main", "main" }

---@class dgrun.migrations.lint.options
---@field since? string a ref; origin/main or, failing that, main
---@field environment? string name of the one whose `migrations` names the folder of alembic.ini
---@field dir? string that folder, from the top of the repository
---@field dialect? "postgresql"|"sqlite" that of sqlalchemy.url in alembic.ini, else postgresql

---@class dgrun.migrations.lint.finding: dgrun.hazards.finding
---@field file string from the top of the repository
---@field blocks boolean it is not additive, and not accepted

---@class dgrun.migrations.lint.revision
---@field revision string
---@field message string
---@field file string from the top of the repository
---@field class "additive"|"rewriting"|"destructive"|"unknown"
---@field findings dgrun.migrations.lint.finding[]

---@class dgrun.migrations.lint.report
---@field since string the ref that the files are compared with
---@field base string SHA of the merge base
---@field revisions dgrun.migrations.lint.revision[] each after those that it builds on
---@field blocking integer findings that are neither additive nor accepted
---@field accepted integer
---@field others integer findings that do not block

local options = { since = "string?", environment = "string?", dir = "string?",
    dialect = "string?" }

---The top of the repository that is worked in.
local function top_of_repository()
    local info = check(git.info { dir = "." })
    return info.top or err.raise { code = "git.no_working_tree", op = OP,
        msg = "a bare repository has no revision files to look at" }
end

---The commit that the branch is compared with, and what it is called.
local function compared_with(top, since)
    if since then
        return refs.resolve(top, since, "origin", OP).commit, since
    end
    for _, ref in ipairs(DEFAULTS) do
        local found = check(git.resolve { dir = top, ref = ref, remote = "origin" })
        if found then
            return found.commit, ref
        end
    end
    err.raise { code = "git.unknown_ref", op = OP,
        msg = "the repository has neither origin/main nor main to compare the revisions with",
        hint = "Name the branch that the pull request is for: dgrun migrations lint --since REF. "
            .. "In GitHub Actions, actions/checkout needs fetch-depth: 0." }
end

local function merge_base(top, commit, since)
    local base = check(git.merge_base { dir = top, one = "HEAD", other = commit })
    if not base then
        refs.require_history(top, "origin", OP)
        err.raise { code = "git.no_merge_base", op = OP,
            msg = ("HEAD and %s have no commit in common"):format(since) }
    end
    return base
end

local function dir_of(environment)
    return (rawget(environment, "migrations") or {}).dir or "."
end

---The folder with alembic.ini, from the top: what the environments say, where they agree.
local function folder(opts)
    if opts.dir then
        return opts.dir
    elseif opts.environment then
        return dir_of(environment_of.get(opts.environment, { lazy = true }))
    end
    local found, names = nil, environment_of.names()
    for _, name in ipairs(names) do
        local dir = dir_of(environment_of.get(name, { lazy = true }))
        if found and dir ~= found then
            err.raise { code = "input.missing", op = OP,
                msg = ("the environments have their migrations in different folders, %s and %s")
                    :format(found, dir),
                hint = "Name one of them: --environment " .. names[1] .. "." }
        end
        found = dir
    end
    return found or "."
end

---The paths of changed and new files, as the revision graph has them.
local function changed_files(dir, base)
    local changed = {}
    for _, versions in ipairs(alembic_ini.folders(dir)) do
        for _, list in ipairs { check(git.changed { dir = versions, from = base, path = "." }),
            check(git.untracked { dir = versions, path = "." }) } do
            for _, name in ipairs(list) do
                changed[versions / name] = true
            end
        end
    end
    return changed
end

---What is not valid Python cannot be judged.
local function check_sources(list, sources, shown)
    local problems = {}
    for _, revision in ipairs(list) do
        local read = sources[revision.revision]
        if read.error then
            problems[#problems + 1] = ("%s:%d: %s"):format(shown(revision.file), read.line,
                read.error)
        end
    end
    if #problems > 0 then
        err.raise { code = "migrations.not_python", op = OP,
            msg = format.count(#problems, "revision file is", "revision files are")
                .. " not valid Python: " .. table.concat(problems, "; ") }
    end
end

---Additive findings are for information; of the others somebody must say that they are wanted.
local function blocks(finding)
    return not finding.accepted and (finding.effect ~= nil or finding.severity == "danger"
        or finding.rule == "unread" or finding.old_code or false)
end

local function judge(opts, dir, list, shown)
    local dialect = opts.dialect or alembic_ini.dialect(dir) == "sqlite" and "sqlite"
        or "postgresql"
    local sources = source.read({ dir = dir, dialect = dialect }, list)
    check_sources(list, sources, shown)
    -- An upgrade for an environment sets a lock_timeout.
    local has_timeout = #environment_of.names() > 0 and "set" or nil
    local found = plan.findings({ lock_timeout = has_timeout }, list, dialect, function(id)
        return sources[id].parts
    end)
    local judged = {}
    for i, revision in ipairs(list) do
        local findings = found[revision.revision]
        for _, finding in ipairs(findings) do
            finding.file, finding.blocks = shown(revision.file), blocks(finding)
        end
        judged[i] = { revision = revision.revision, message = revision.message,
            file = shown(revision.file), findings = findings,
            class = plan.class_of(findings, true) }
    end
    return judged
end

local function counted(report)
    for _, revision in ipairs(report.revisions) do
        for _, finding in ipairs(revision.findings) do
            local kind = finding.blocks and "blocking" or finding.accepted and "accepted"
                or "others"
            report[kind] = report[kind] + 1
        end
    end
    return report
end

---@param opts dgrun.migrations.lint.options
---@return dgrun.migrations.lint.report
---@return dgrun.err?
function M.lint(opts)
    check.options(opts, options, OP)
    local top = top_of_repository()
    local commit, since = compared_with(top, opts.since)
    local base = merge_base(top, commit, since)
    local dir = top / folder(opts)
    local function shown(file)
        return file:sub(1, #top + 1) == top .. "/" and file:sub(#top + 2) or file
    end
    local changed, list = changed_files(dir, base), {}
    local graph = revisions.read(dir)
    for _, id in ipairs(graph.order) do
        list[#list + 1] = changed[graph.by_id[id].file] and graph.by_id[id] or nil
    end
    local report = counted { since = since, base = base, blocking = 0, accepted = 0, others = 0,
        revisions = #list > 0 and judge(opts, dir, list, shown) or {} }
    return report, report.blocking > 0 and err.new { code = "refused.hazards", op = OP,
        silent = true, msg = ("%s of the new revisions not accepted"):format(
            format.count(report.blocking, "hazard is", "hazards are")) } or nil
end

return M
