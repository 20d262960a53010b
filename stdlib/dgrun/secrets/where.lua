-- What the sources of an environment's secrets say: where each value comes from, which files are
-- exposed, and what must be masked.
local context = require "dgrun.run.context"
local declaration = require "dgrun.project.secret_spec"
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local host_git = require "host.git"
local json = require "dgrun.core.json"
local path = require "dgrun.core.path"
local rules = require "dgrun.project.secret_rules"
local secret = require "host.secret"
local source_of = require "dgrun.project.source"
local sources = require "dgrun.project.sources"
local target_of = require "dgrun.project.target"
local task = require "dgrun.core.task"

local M = {}

---@class dgrun.secrets.where
---@field environment string
---@field app string
---@field ok boolean nothing is missing, invalid, or unreadable
---@field sources dgrun.secrets.where.source[] in order of precedence
---@field warnings string[] files that other users can read or that git does not ignore, with the
---  fix
---@field secrets dgrun.secrets.where.secret[] all declared secrets, by name

---@class dgrun.secrets.where.source
---@field label string "the environment", ".env.prod", "`op item get prod`"
---@field kind "env"|"dotenv"|"age"|"command"
---@field state "read"|"absent"|"failed"
---@field reason? string why it failed
---@field hint? string
---@field undeclared string[] names in a file that the environment does not declare

---@class dgrun.secrets.where.secret
---@field name string
---@field need "required"|"optional"|"literal" literal: only the value is declared
---@field state "ok"|"missing"|"absent"|"broken" absent: optional, and in no source
---@field from? string "literal", or the label of the source that provides the value
---@field line? integer its line in that file
---@field shadowed string[] later sources that have a value too
---@field broken string[] the rules it breaks: "must have at least 16 characters"
---@field advice? string
---@field expands? boolean it contains ${…}, $(…) or a backquote, which are not expanded
---@field unmasked? boolean too short to be masked in output

-- The mode bits of the group and of other users are below this value.
local OTHERS = 64

local function of_file(file, label)
    local texts = {}
    local stat = fs.stat(file)
    if not stat then
        return texts
    elseif stat.mode % OTHERS ~= 0 then
        texts[1] = ("other users of this computer can read %s (mode %03o): chmod 600 %s"):format(
            label, stat.mode % 512, label)
    end
    -- nil also when the folder is not in a repository.
    local tracking = host_git.tracking { dir = path.dirname(file), path = path.basename(file) }
    if tracking == "tracked" then
        texts[#texts + 1] = ("git tracks %s: run git rm --cached %s, add a line /%s to .gitignore, "
            .. "and rotate the secrets if they were pushed"):format(label, label, label)
    elseif tracking == "untracked" then
        texts[#texts + 1] = ("git does not ignore %s: add a line /%s to .gitignore"):format(label,
            label)
    end
    return texts
end

---Problems of an environment's dotenv files, each with the fix: files that other users can read,
---that git tracks, or that git does not ignore.
---@param entry table of an environment
---@return string[]
function M.exposed(entry)
    local list, seen = {}, {}
    for _, listed in ipairs(entry.secrets.sources) do
        local file = listed.file
        if listed.kind == "dotenv" and not seen[file] then
            seen[file] = true
            for _, text in ipairs(of_file(source_of.place(entry.root, file), file)) do
                list[#list + 1] = text
            end
        end
    end
    return list
end

local reported = setmetatable({}, { __mode = "k" })

---The same, without the problems that this run has already reported.
---@param entry table of an environment
---@return string[]
function M.exposed_unreported(entry)
    local run = context.current()
    local seen, list = run and reported[run] or {}, {}
    for _, text in ipairs(M.exposed(entry)) do
        list[#list + 1] = not seen[text] and text or nil
        seen[text] = true
    end
    if run then
        reported[run] = seen
    end
    return list
end

local function needs(declared)
    local need = {}
    for name in pairs(declared.literal) do
        need[name] = "literal"
    end
    for _, kind in ipairs { "required", "optional" } do
        for _, name in ipairs(declared[kind]) do
            need[name] = kind
        end
    end
    return need
end

local function judged(one, value, list)
    for _, rule in ipairs(rules.broken(list, value)) do
        table.insert(one.broken, rules.says(rule))
        one.advice = one.advice or rules.advice(rule, value)
        one.state = "broken"
    end
end

---@param name string
---@param declared dgrun.secrets.declaration
---@param opened dgrun.secrets.source[]
---@return dgrun.secrets.where.secret
local function secret_at(name, declared, opened)
    local one = { name = name, shadowed = json.array {}, broken = json.array {} }
    local value = declared.literal[name]
    if value then
        one.from, one.state = "literal", "ok"
    end
    for _, source in ipairs(opened) do
        if source.has(name) then
            if value then
                table.insert(one.shadowed, source.label)
            else
                value = source.get(name)
                one.from, one.state, one.line = source.label, "ok", source.line(name)
                one.expands = source.expands(name) or nil
                one.unmasked = secret.unmasked(value) or nil
            end
        end
    end
    if value then
        judged(one, value, declared.rules[name])
    end
    return one
end

local function described(source, need)
    local undeclared = json.array {}
    for _, name in ipairs(source.names) do
        undeclared[#undeclared + 1] = not need[name] and name or nil
    end
    table.sort(undeclared)
    local e = source.error
    return { label = source.label, kind = source.kind, state = source.state,
        reason = e and e.msg, hint = e and e.hint, undeclared = undeclared }
end

---The error of a check, or nil.
---@param data dgrun.secrets.where
---@return dgrun.err?
local function problem(data)
    local failed, wrong = {}, { missing = {}, broken = {} }
    for _, source in ipairs(data.sources) do
        failed[#failed + 1] = source.state == "failed" and source.label or nil
    end
    for _, one in ipairs(data.secrets) do
        table.insert(wrong[one.state] or {}, one.name)
    end
    local parts = {}
    for _, part in ipairs { { failed, "cannot be read" }, { wrong.missing, "missing" },
        { wrong.broken, "invalid" } } do
        if #part[1] > 0 then
            parts[#parts + 1] = ("%s: %s"):format(part[2], format.list(part[1]))
        end
    end
    if #parts == 0 then
        return nil
    end
    local code = #failed > 0 and "unreadable" or #wrong.missing > 0 and "missing" or "invalid"
    return err.new { code = "secrets." .. code,
        msg = ("the secrets of '%s' have problems: %s"):format(data.environment,
            table.concat(parts, "; ")) }
end

---@param env dgrun.environment
---@return table
local function entry_of(env)
    local entry = (getmetatable(env) or {}).entry
    if not entry then
        err.raise { code = "input.invalid", op = "secrets.where",
            msg = "secrets.where needs an environment, such as dg.environment \"prod\"" }
    end
    return entry
end

---Where each secret of an environment comes from. No part of a value is reported.
---@param where string|dgrun.environment|dgrun.target
---@return dgrun.secrets.where data
---@return dgrun.err? problem what is wrong, if anything
function M.of(where)
    if type(where) == "string" then
        where = environment.get(where, { lazy = true })
    elseif target_of.is(where) then
        where = where.environment
    end
    local entry = entry_of(where)
    local declared = entry.secrets
    local need = needs(declared)
    local opened = {}
    local data = { environment = entry.name, app = entry.app, sources = json.array {},
        warnings = json.array(M.exposed(entry)), secrets = json.array {} }
    for source in sources.each(entry) do
        opened[#opened + 1] = source
        data.sources[#opened] = described(source, need)
    end
    for i, name in ipairs(declaration.names(declared)) do
        local one = secret_at(name, declared, opened)
        one.need = need[name]
        one.state = one.state or (one.need == "required" and "missing" or "absent")
        data.secrets[i] = one
    end
    local e = problem(data)
    data.ok = e == nil
    return data, e
end

---Required names without a value in any source.
local function unknown_names(declared, opened)
    local names = {}
    for _, list in ipairs { declared.required, declared.private } do
        for _, name in ipairs(list) do
            local known = declared.literal[name] ~= nil
            for _, source in ipairs(opened) do
                known = known or source.has(name)
            end
            names[#names + 1] = not known and name or nil
        end
    end
    return names
end

---Reports what is not masked: by source if a source failed, otherwise by name.
local function report_unmasked(entry, opened)
    local failed, looked = false, {}
    for i, source in ipairs(opened) do
        looked[i] = sources.shown(source)
        if source.state == "failed" then
            failed = true
            effect.note(("%s: values of %s are not masked: %s"):format(entry.name,
                source.label, source.error.msg))
        end
    end
    local names = failed and {} or unknown_names(entry.secrets, opened)
    if #names > 0 then
        effect.note(("%s: the value of %s is not masked: it was not found (looked in %s)")
            :format(entry.name, format.list(names), #looked > 0
                and format.list(looked, "and then") or "no sources"))
    end
end

local function mask(env)
    local entry, opened = environment.entry(env), {}
    for source in sources.each(entry) do
        opened[#opened + 1] = source
    end
    report_unmasked(entry, opened)
end

---Masks the values of an environment's secrets in all of dgrun's output, for commands that show the
---output of machines. Every source is opened, even when another source overrides all of its values:
---the app may have any of them.
---@param where dgrun.target|dgrun.target[]
function M.mask(where)
    local list = {}
    for _, target in ipairs(target_of.is(where) and { where } or where) do
        list[#list + 1] = target.environment or environment.of_review_app(target.app)
    end
    task.map(list, {}, mask)
end

return M
