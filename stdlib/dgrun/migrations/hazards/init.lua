-- Judges the SQL of a migration before it runs: what it locks, what it writes anew, what it loses.
local accepted = require "dgrun.migrations.hazards.accepted"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local facts = require "dgrun.migrations.hazards.facts"
local locks = require "dgrun.migrations.hazards.locks"
local rules = require "dgrun.migrations.hazards.rules"
local states = require "dgrun.migrations.hazards.state"
local statements = require "dgrun.migrations.hazards.statements"

local M = {}

---@class dgrun.hazards.finding
---@field rule string
---@field severity "danger"|"warning"|"note"
---@field effect? "destructive"|"rewriting" what it makes of the class
---@field old_code? boolean code from before it fails
---@field statement string on one line, cut when long
---@field line integer of the SQL, or of the file
---@field file? string
---@field object? string "users.name": what it is about
---@field lock? string PostgreSQL: the mode of the lock that it takes, "ACCESS EXCLUSIVE"
---@field locked? string the table that it is taken on
---@field detail? string what the parser says of a statement that it does not accept
---@field revision? string from Alembic's comments
---@field why string
---@field instead string
---@field accepted? string the reason

---@type table<string, dgrun.hazards.rule[]>
local rules_on = {}
for _, rule in ipairs(rules) do
    for kind in rule.on:gmatch("[^|]+") do
        rules_on[kind] = rules_on[kind] or {}
        table.insert(rules_on[kind], rule)
    end
end

local function holds(rule, fact, state, dialect)
    if dialect == "sqlite" and not rule.sqlite then
        return false
    elseif not rule.any and state:is_new(fact)
        or rule.unless_new_column and state:is_new_column(fact) then
        return false
    end
    return not rule.when or rule.when(fact, state)
end

local function judge_fact(job, kind, fact, unit)
    local mode = job.dialect == "postgresql" and locks.of(fact)
    for _, rule in ipairs(rules_on[kind] or {}) do
        if holds(rule, fact, job.state, job.dialect) then
            table.insert(job.findings, {
                rule = rule.id, severity = rule.severity, effect = rule.effect,
                old_code = rule.old_code,
                statement = unit.text, line = unit.line, file = unit.file, object = fact.object,
                revision = unit.revision, why = rule.why, instead = rule.instead,
                lock = mode and locks.modes[mode] or nil, locked = mode and fact.table or nil,
                detail = fact.reason,
                accepted = job.reason(rule.id, unit.revision),
            })
        end
    end
end

local function judge_unit(job, unit)
    local state = job.state
    state:know_types(unit.types or {})
    for _, fact in ipairs(facts.of(unit, job.dialect, state.schema)) do
        state:see_batch(fact, job.renames)
        judge_fact(job, fact.kind, fact, unit)
        if state:locks(fact) then
            state:count_lock(fact)
            judge_fact(job, "lock", fact, unit)
        end
        state:apply(fact)
    end
end

---The tables that become what Alembic's batch mode has copied: known before they are dropped.
local function renames_of(units, dialect)
    local found = {}
    for _, unit in ipairs(units) do
        if unit.sql and unit.sql:find("^[aA][lL][tT][eE][rR]") then
            for _, fact in ipairs(facts.of(unit, dialect)) do
                local goal = fact.kind == "rename_table" and states.batch_goal(fact)
                found[goal or false] = true
            end
        end
    end
    return found
end

local function class_of(findings)
    local class = "additive"
    for _, finding in ipairs(findings) do
        if finding.effect == "destructive" then
            return "destructive"
        end
        class = finding.effect or class
    end
    return class
end

local judge_options = {
    sql = "string?", parts = "table?", dialect = "string", accepted = "table?",
    lock_timeout = "boolean?", columns = "table?",
}

---@class dgrun.hazards.options
---@field sql? string
---@field parts? dgrun.hazards.part[] instead of `sql`: pieces of revisions, in order
---@field dialect "postgresql"|"sqlite"
---@field accepted? table {RULE = reason} or {REVISION = {RULE = reason}}
---@field lock_timeout? boolean is it set where the SQL will run?
---@field columns? table<string, string> types that are known: {["users.name"] = "varchar(30)"}

local function units_of(opts)
    if not opts.parts then
        return statements.split(opts.sql, opts.dialect)
    end
    local units = {}
    for _, part in ipairs(opts.parts) do
        for _, unit in ipairs(statements.of_part(part, opts.dialect)) do
            units[#units + 1] = unit
        end
    end
    return units
end

---@param opts dgrun.hazards.options
---@return {findings: dgrun.hazards.finding[], class: "additive"|"rewriting"|"destructive"}
function M.judge(opts)
    check.options(opts, judge_options, "hazards.judge")
    if opts.dialect ~= "postgresql" and opts.dialect ~= "sqlite" then
        err.raise {
            code = "hazards.unsupported_dialect", op = "hazards.judge",
            msg = ("dgrun cannot judge the SQL of %s"):format(opts.dialect),
            hint = "Supported dialects: postgresql and sqlite.",
        }
    end
    local list = units_of(opts)
    local job = {
        dialect = opts.dialect, findings = {}, state = states.new(opts),
        reason = accepted.reader(opts.accepted), renames = renames_of(list, opts.dialect),
    }
    for _, unit in ipairs(list) do
        judge_unit(job, unit)
    end
    return { findings = job.findings, class = class_of(job.findings) }
end

---What a revision file accepts, by comments "# dgrun: accept RULE: reason".
---@param text string
---@return table<string, string> # id of a rule → reason
function M.accepted_in(text)
    return accepted.of_file(text)
end

---@type dgrun.hazards.rule[]
M.rules = rules

return M
