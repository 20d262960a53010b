-- What the secrets of an environment are: the first of its sources that has a value gives it, and
-- the contract judges it. An empty value counts as none: that is what CI systems give for a secret
-- that is not set. A source is not opened while those before it have everything.
local declaration = require "dgrun.project.secret_spec"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local opt = require "host.opt"
local rules = require "dgrun.project.secret_rules"
local run = require "dgrun.run.context"
local secret = require "host.secret"
local source_of = require "dgrun.project.source"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.sources.trouble all that is wrong in one environment
---@field environment string
---@field file string environments.yaml
---@field looked string[] the sources that were asked, as text
---@field missing string[] required names that none has
---@field similar {name: string, there: string, source: string}[] for a missing one: a name alike
---@field broken {name: string, from: string, rule: dgrun.secrets.rule, advice?: string}[]
---@field failed dgrun.secrets.source[]

---Words that are no secrets, wherever they stand: masking them would only hide what people read.
---@param declared dgrun.secrets.declaration
function M.publish(declared)
    secret.public { "true", "false", "null", "none", "True", "False", "None" }
    for _, list in pairs(declared.rules) do
        secret.public(rules.choices(list))
    end
    for _, text in pairs(declared.literal) do
        secret.public { text }
    end
end

---Opens the sources of an entry one by one: `for source in sources.each(entry) do`.
---@param entry table of environments.yaml
---@return fun(): dgrun.secrets.source?
function M.each(entry)
    M.publish(entry.secrets)
    local declared = { root = entry.root, names = declaration.names(entry.secrets) }
    local at = 0
    return function()
        at = at + 1
        local one = entry.secrets.sources[at]
        return one and source_of.open(one, declared)
    end
end

---Where a value stands: ".env.prod:3", "a literal".
local function where(source, name)
    local line = source.line(name)
    return line and ("%s:%d"):format(source.label, line) or source.label
end

local function note_expansion(source, name)
    if source.expands(name) then
        effect.note((
            "%s: %s holds ${…}, $(…) or a backquote, and is taken as it "
            .. "stands. Single quotes around it say that this is meant."):format(
                where(source, name), name))
    end
end

local states = { absent = " (no such file)", failed = " (cannot be read)" }

---A source as text, with what became of it: ".env.prod (no such file)".
---@param source dgrun.secrets.source
---@return string
function M.shown(source)
    return source.label .. (states[source.state] or "")
end

---The names wanted of sources, in the order in which they are told when missing.
local function wanted(declared)
    local list = {}
    for _, names in ipairs { declared.required, declared.private, declared.optional } do
        for _, name in ipairs(names) do
            if declared.literal[name] == nil then
                list[#list + 1] = name
            end
        end
    end
    return list
end

local function judge(found, declared, trouble)
    for _, name in ipairs(tables.keys(declared.rules)) do
        local one = found[name]
        for _, rule in ipairs(one and rules.broken(declared.rules[name], one.value) or {}) do
            table.insert(trouble.broken, { name = name, rule = rule, from = one.from,
                advice = rules.advice(rule, one.value) })
        end
    end
end

---Names in the files that look like a missing one and that nobody declares.
local function similar(missing, opened, declared)
    local known, list = {}, {}
    for _, name in ipairs(declaration.names(declared)) do
        known[name] = true
    end
    for _, name in ipairs(missing) do
        for _, source in ipairs(opened) do
            local others = {}
            for _, there in ipairs(source.names) do
                others[#others + 1] = not known[there] and there or nil
            end
            local nearest = opt.nearest(name, others)
            if nearest then
                list[#list + 1] = { name = name, there = nearest, source = source.label }
            end
        end
    end
    return list
end

---Is it a secret for the pipeline alone, which no app gets?
---@return boolean
function M.is_private(entry, name)
    for _, one in ipairs(entry.secrets.private) do
        if one == name then
            return true
        end
    end
    return false
end

---Values by name of those that go to the app.
---@param entry table an entry of environments.yaml
---@return table<string, any>? values nil when something is wrong, private ones included
---@return dgrun.sources.trouble?
function M.look_up(entry)
    local declared = entry.secrets
    local trouble = { environment = entry.name, file = entry.file, looked = {}, missing = {},
        similar = {}, broken = {}, failed = {} }
    local found, opened, left = {}, {}, wanted(declared)
    for name, text in pairs(declared.literal) do
        found[name] = { value = text, from = "a literal" }
    end
    local next_source = M.each(entry)
    while #left > 0 do
        local source = next_source()
        if not source then
            break
        end
        opened[#opened + 1] = source
        trouble.looked[#opened] = M.shown(source)
        trouble.failed[#trouble.failed + 1] = source.state == "failed" and source or nil
        local still = {}
        for _, name in ipairs(left) do
            if source.has(name) then
                found[name] = { value = source.get(name), from = where(source, name) }
                note_expansion(source, name)
            else
                still[#still + 1] = name
            end
        end
        left = still
    end
    for _, names in ipairs { declared.required, declared.private } do
        for _, name in ipairs(names) do
            trouble.missing[#trouble.missing + 1] = not found[name] and name or nil
        end
    end
    trouble.similar = similar(trouble.missing, opened, declared)
    judge(found, declared, trouble)
    if #trouble.missing + #trouble.broken + #trouble.failed > 0 then
        return nil, trouble
    end
    local values = {}
    for name, one in pairs(found) do
        values[name] = not M.is_private(entry, name) and one.value or nil
    end
    return values
end

---A private secret, whatever becomes of the others.
---@param entry table
---@param name string
---@return userdata sealed
function M.private(entry, name)
    local trouble = { environment = entry.name, file = entry.file, looked = {}, missing = { name },
        similar = {}, broken = {}, failed = {} }
    for source in M.each(entry) do
        if source.has(name) then
            return source.get(name)
        end
        trouble.looked[#trouble.looked + 1] = M.shown(source)
        trouble.failed[#trouble.failed + 1] = source.state == "failed" and source or nil
    end
    err.raise(M.error { trouble })
end

local function missing_line(trouble)
    local where_from = #trouble.looked > 0
        and "looked in " .. format.list(trouble.looked, "and then")
        or "no sources are listed in " .. trouble.file
    return ("lacks %s %s (%s)"):format(
        #trouble.missing == 1 and "the required secret" or "the required secrets",
        format.list(trouble.missing), where_from)
end

---All that is wrong in one environment, a line for each.
local function lines_of(trouble, lines)
    local function add(text)
        lines[#lines + 1] = ("environment '%s' %s"):format(trouble.environment, text)
    end
    for _, source in ipairs(trouble.failed) do
        local msg = source.error.msg
        local named = msg:sub(1, #source.label + 1) == source.label .. ":"
        add("cannot read " .. (named and msg or source.label .. ": " .. msg))
    end
    if #trouble.missing > 0 then
        add(missing_line(trouble))
    end
    for _, one in ipairs(trouble.broken) do
        add(("breaks a rule: %s %s (from %s)%s"):format(one.name, rules.says(one.rule), one.from,
            one.advice and "; " .. one.advice or ""))
    end
end

local function hints_of(list)
    local hints, seen = {}, {}
    local function add(text)
        if text and not seen[text] then
            seen[text] = true
            hints[#hints + 1] = text
        end
    end
    local missing, broken = false, false
    for _, trouble in ipairs(list) do
        for _, source in ipairs(trouble.failed) do
            add(source.error.hint)
        end
        for _, one in ipairs(trouble.similar) do
            add(("%s has %s: did you mean %s?"):format(one.source, one.there, one.name))
        end
        missing = missing or #trouble.missing > 0 and #trouble.failed == 0
        broken = broken or #trouble.broken > 0
    end
    if missing then
        local planning = run.planning()
        add("Set what is missing in one of these places."
            .. (planning and " A plan needs it too: it compares with what is set." or ""))
    end
    if broken then
        add("Correct the value where it comes from, or the rule in environments.yaml.")
    end
    return #hints > 0 and table.concat(hints, "\n") or nil
end

---What was written by hand is wrong; or a program or a disk failed.
local function code_of(list, names)
    for _, trouble in ipairs(list) do
        for _, source in ipairs(trouble.failed) do
            if source.error.code ~= "dotenv.syntax" then
                return "secrets.unreadable"
            end
        end
    end
    return #names > 0 and "secrets.missing" or "secrets.invalid"
end

---The one error for all that is wrong in these environments: names, rules, sources, no values.
---@param list dgrun.sources.trouble[]
---@return dgrun.err
function M.error(list)
    local lines, names, broken = {}, {}, {}
    for _, trouble in ipairs(list) do
        lines_of(trouble, lines)
        for _, name in ipairs(trouble.missing) do
            names[#names + 1] = name
        end
        for _, one in ipairs(trouble.broken) do
            broken[#broken + 1] = one.name
        end
    end
    return err.new {
        code = code_of(list, names), names = names, broken = broken,
        msg = table.concat(lines, "\n"), hint = hints_of(list),
    }
end

return M
