-- Migrations by another tool than Alembic, with the same journal, lease and timeouts.
local alembic = require "dgrun.migrations.alembic"
local carry_out = require "dgrun.migrations.execute"
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local proc = require "host.proc"

local M = {}

---@class dgrun.migrations.command
---@field argv string[] {"python", "manage.py", "migrate"}
---@field dir? string where it runs, "."
---@field database? userdata|string URL of the database that it migrates
---@field pending? string[] a command that changes nothing and ends with status 0 when there is
---  nothing to migrate: {"python", "manage.py", "migrate", "--check"}
---@field env? table<string, string|userdata>
---@field lock_timeout? string "10s"
---@field statement_timeout? string
---@field retries? integer
---@field timeout? number seconds

local options = {
    argv = "table", dir = "string?", database = "value?", pending = "table?", env = "table?",
    lock_timeout = "string?", statement_timeout = "string?", retries = "integer?",
    timeout = "seconds?",
}

local function nothing_pending(opts)
    local result = check(proc.run {
        argv = opts.pending, cwd = opts.dir or ".", env = alembic.environment(opts),
        timeout = opts.timeout or 120, read_only = true,
    })
    return result.status == 0
end

---@param opts dgrun.migrations.command
---@return {ran: boolean}
function M.run(opts)
    carry_out.check(opts, options, "migrations.command")
    if opts.pending and nothing_pending(opts) then
        effect.note "nothing to migrate"
        return { ran = false }
    end
    if opts.database then
        carry_out.warn_of_pooler(opts.database)
    end
    local text = table.concat(opts.argv, " ")
    effect.write {
        kind = "migrations.command.run", target = "database", name = "migrated",
        summary = "run the migrations: " .. text,
        apply = function()
            local all = { dir = opts.dir or ".", database = opts.database,
                retries = opts.retries, lock_timeout = opts.lock_timeout }
            carry_out.run(all, function()
                return alembic.spawn(opts.argv, alembic.environment(opts), {
                    dir = all.dir, timeout = opts.timeout })
            end, function(outcome)
                if outcome.exit.status ~= 0 then
                    carry_out.fail(all, outcome, { op = "migrations.command", what = text,
                        state = "", hint = "See its output above. Fix the cause, then "
                            .. "run it again." })
                end
            end)
        end,
    }
    return { ran = true }
end

return M
