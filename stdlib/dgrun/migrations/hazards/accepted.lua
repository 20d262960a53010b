-- Findings that somebody accepts, with the reason: "# dgrun: accept RULE: reason" in a revision.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local rules = require "dgrun.migrations.hazards.rules"

local M = {}

M.LIMIT = 1024 * 1024

---@type table<string, string> any name of a rule → its id
local id_of = {}
for _, rule in ipairs(rules) do
    id_of[rule.id] = rule.id
    id_of[rule.also or rule.id] = rule.id
end

local function fail(code, text, hint)
    err.raise { code = "hazards." .. code, op = "hazards.accepted_in", msg = text, hint = hint }
end

local function add(found, name, reason, where)
    check.known(name, id_of, where .. "unknown rule", "hazards.unknown_rule")
    if type(reason) ~= "string" or not reason:find("%S") then
        fail("no_reason", ("%s%s is accepted without a reason"):format(where, name),
            ("Write why: # dgrun: accept %s: the table has 200 rows."):format(name))
    end
    local id = id_of[name]
    found[id] = found[id] and found[id] ~= reason and found[id] .. "; " .. reason or reason
end

---The end of the string that begins at `at`. A backslash keeps a quote from ending it, in raw
---strings, too (Python reference, 2.4.1).
local function string_end(text, at)
    local quote = text:sub(at, at)
    local is_long = text:sub(at, at + 2) == quote:rep(3)
    local ending, i = is_long and quote:rep(3) or quote, at + (is_long and 3 or 1)
    while i <= #text do
        local byte = text:sub(i, i)
        if byte == "\\" then
            i = i + 2
        elseif text:sub(i, i + #ending - 1) == ending then
            return i + #ending
        elseif byte == "\n" and not is_long then
            return i
        else
            i = text:find('[\\\n"\']', i + 1) or #text + 1
        end
    end
    return i
end

---Calls f with each comment of a Python file and its line.
local function each_comment(text, f)
    local at, line, seen = text:find("[#'\"]"), 1, 1
    while at do
        local to
        if text:sub(at, at) == "#" then
            to = text:find("\n", at, true) or #text + 1
            local _, newlines = text:sub(seen, at - 1):gsub("\n", "")
            line, seen = line + newlines, at
            f(text:sub(at, to - 1), line)
        else
            to = string_end(text, at)
        end
        at = text:find("[#'\"]", to)
    end
end

---What a revision file accepts.
---@param text string
---@return table<string, string> # id of a rule → reason
function M.of_file(text)
    if type(text) ~= "string" or #text > M.LIMIT then
        fail("too_large", ("a revision file must be text of at most %d bytes"):format(M.LIMIT))
    end
    local found = {}
    each_comment(text, function(comment, line)
        local rest = comment:match("^#+%s*dgrun:%s*accept%f[^%w_](.*)")
        if rest then
            local name, reason = rest:match("^%s*([%w_-]+)%s*:?%s*(.-)%s*$")
            if not name then
                fail("no_rule", ("line %d: the comment names no rule"):format(line),
                    "# dgrun: accept RULE: reason")
            end
            add(found, name, reason, ("line %d: "):format(line))
        end
    end)
    return found
end

---What a call accepts: {RULE = reason}, or {REVISION = {RULE = reason}}.
---@param given? table
---@return fun(rule: string, revision: string?): string? # the reason
function M.reader(given)
    local general, of_revision = {}, {}
    for name, reason in pairs(given or {}) do
        if type(reason) == "table" then
            of_revision[name] = {}
            for rule, why in pairs(reason) do
                add(of_revision[name], rule, why, tostring(name) .. ": ")
            end
        else
            add(general, name, reason, "accepted: ")
        end
    end
    return function(rule, revision)
        local own = revision and of_revision[revision]
        return own and own[rule] or general[rule]
    end
end

return M
