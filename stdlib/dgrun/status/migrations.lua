-- Migrations that the database lacks: those of the deployed code, and those of the branch that will
-- be deployed next.
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local json = require "dgrun.core.json"
local migrations = require "dgrun.migrations"
local revisions = require "dgrun.migrations.revisions"
local secret = require "host.secret"
local shared = require "dgrun.status.shared"
local task = require "dgrun.core.task"

local M = {}

---Seconds for the database, so that an unreachable database does not use up the whole timeout.
M.patience = 5

---@class dgrun.status.migrations
---@field current string[] revisions of the database
---@field pending string[] revisions of the deployed code that the database lacks
---@field to_come? string[] further revisions on the branch; nil when unknown
---@field base? string the branch

local function declared(target)
    local secrets = environment.entry(target.environment).secrets
    for _, list in ipairs { secrets.required, secrets.optional, secrets.private } do
        for _, name in ipairs(list) do
            if name == target.database then
                return true
            end
        end
    end
    return secrets.literal[target.database] ~= nil
end

---Looked up only when needed: a laptop may not have the production secrets.
local function url_of(target)
    return target.environment.secrets[target.database]
end

---A variable of this process applies to every environment that reads it, but names the database of
---only one environment.
local function check_whose(target, url)
    if url ~= secret.from_env(target.database) then
        return
    end
    for _, other in ipairs(target.all) do
        if other ~= target and other.environment and declared(other)
            and shared.attempt(url_of, other) == url then
            err.raise { code = "status.whose_database", op = "status",
                msg = ("the same %s applies to both %s and %s; only one of them can use that "
                    .. "database"):format(target.database, target.name, other.name),
                hint = ("Query one environment at a time: dgrun status %s"):format(target.name) }
        end
    end
end

---The revisions of the database.
local function current_of(target)
    local env = target.environment
    local url = url_of(target)
    if not url then
        err.raise { code = "status.no_database", op = "status",
            msg = ("%s has no value"):format(target.database) }
    end
    check_whose(target, url)
    local ok, result = pcall(task.timeout, math.min(M.patience, math.max(0.001, target.left())),
        function()
            local root = environment.entry(env).root
            return migrations.current { database = url, dir = root }
        end)
    if not ok and err.is(result, "timeout") then
        err.raise { code = "status.no_answer", op = "status",
            msg = ("the database did not respond within %g s"):format(M.patience) }
    elseif not ok then
        error(result, 0)
    end
    return result
end

---The folder with alembic.ini in a checkout, or nil.
local function alembic_folder(target, dir)
    local below = (rawget(target.environment, "migrations") or {}).dir or "."
    local folder = dir and (below == "." and dir or dir / below)
    return folder and fs.exists(folder / "alembic.ini") and folder or nil
end

local function ids(list)
    local found = json.array {}
    for i, revision in ipairs(list) do
        found[i] = revision.revision
    end
    return found
end

local function pending(dir, current)
    return ids(revisions.pending(revisions.read(dir), current, "heads"))
end

---The ids in `all` that are not in `known`.
local function without(all, known)
    local seen, rest = {}, json.array {}
    for _, id in ipairs(known) do
        seen[id] = true
    end
    for _, id in ipairs(all) do
        rest[#rest + 1] = not seen[id] and id or nil
    end
    return rest
end

---Pending revisions of the deployed code. A database that is ahead of the code is a problem, but
---the other facts are still reported.
local function of_deployed(dir, current)
    local list, e = shared.attempt(pending, dir, current)
    if list then
        return list
    elseif err.is(e, "migrations.unknown_revision") then
        return json.array {}, (
            "the database is at revision %s, which the deployed code "
            .. "does not have"):format(e.revision or table.concat(current, ", "))
    end
    err.raise(e)
end

---@param target dgrun.status.target
---@return dgrun.status.migrations? # nil for an application without Alembic
---@return string[]? problems
function M.migrations(target)
    if not target.environment or not declared(target) then
        return nil
    end
    local current, unreachable, deployed, branch
    task.all {
        function() current, unreachable = shared.attempt(current_of, target) end,
        function() deployed = alembic_folder(target, shared.attempt(target.files)) end,
        function()
            branch = alembic_folder(target, shared.attempt(target.repository.branch_files))
        end,
    }
    if not deployed and not branch then
        return nil
    elseif not current then
        err.raise(unreachable)
    end
    local facts, problems = { current = current }, {}
    if deployed then
        facts.pending, problems[1] = of_deployed(deployed, current)
        if #facts.pending > 0 then
            problems[1] = ("the database lacks %s of the deployed code"):format(
                format.count(#facts.pending, "migration"))
        end
    end
    local ahead = branch and shared.attempt(pending, branch, current)
    if ahead then
        facts.to_come = without(ahead, facts.pending or {})
        facts.base = target.repository.branch().name
    end
    return facts, problems
end

return M
