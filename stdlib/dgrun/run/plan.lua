-- What a run would do, as text: the recorded effects of a plan, grouped by step. Of an update only
-- the fields that change are shown; a secret stands by its name.
local format = require "dgrun.core.format"
local secret = require "host.secret"
local snapshot = require "dgrun.core.snapshot"
local tables = require "dgrun.core.table"
local unknown = require "dgrun.core.unknown"

local M = {}

M.signs = { create = "+", update = "~", destroy = "-", run = "!" }

local actions = { "create", "update", "destroy", "run" }
local widest = 88

local function quoted(text)
    if #text > 200 then
        local head = secret.redact(text):sub(1, 160):gsub(
            "[\194-\244][\128-\191]*$", "")
        text = ("%s… (%d bytes)"):format(head, #text)
    end
    if text ~= "" and not text:find("[%s%c,:{}%[%]\"]") or text == unknown.text then
        return text
    elseif text:match("^%a[%w+.-]*:[^%s%c\"]+$") then
        return text -- a URL, an image with a tag
    end
    return '"' .. text:gsub('[%c"\\]', function(c)
        local named = { ["\n"] = "\\n", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\" }
        return named[c] or ("\\u%04x"):format(c:byte())
    end) .. '"'
end

local function is_map(value)
    return type(value) == "table" and not value["$secret"] and #value == 0 and next(value) ~= nil
end

---A value of a snapshot on one line.
---@return string
local function inline(value)
    if type(value) == "string" then
        return quoted(value)
    elseif type(value) == "userdata" then
        return "null"
    elseif type(value) ~= "table" then
        return tostring(value)
    elseif value["$secret"] then
        return ("secret(%s)"):format(value["$secret"])
    end
    local parts = {}
    for i, key in ipairs(tables.keys(value)) do
        parts[i] = (is_map(value) and key .. ": " or "") .. inline(value[key])
    end
    local text = table.concat(parts, ", ")
    return is_map(value) and "{" .. text .. "}" or "[" .. text .. "]"
end

local function equal(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then
        return a == b and a ~= unknown.text
    end
    for _, key in ipairs(tables.keys(a, b)) do
        if not equal(a[key], b[key]) then
            return false
        end
    end
    return true
end

local function join(path, key)
    if type(key) == "number" then
        return ("%s[%d]"):format(path, key)
    end
    return path == "" and key or path .. "." .. key
end

---All of a value: a map field by field, the rest on one line each.
local function show(value, path, indent, lines)
    local text = inline(value)
    if not is_map(value) or path ~= "" and format.width(indent .. path .. text) + 2 <= widest then
        lines[#lines + 1] = indent .. (path ~= "" and path .. ": " or "") .. text
        return
    end
    for _, key in ipairs(tables.keys(value)) do
        show(value[key], join(path, key), indent, lines)
    end
end

local function show_change(path, before, after, indent, lines)
    local label = path ~= "" and path .. ": " or ""
    if before == nil then
        lines[#lines + 1] = ("%s%s%s (new)"):format(indent, label, inline(after))
    elseif after == nil then
        lines[#lines + 1] = ("%s%sremoved, was %s"):format(indent, label, inline(before))
    else
        local old, new = inline(before), inline(after)
        if format.width(indent .. label .. old .. new) + 3 <= widest then
            lines[#lines + 1] = ("%s%s%s → %s"):format(indent, label, old, new)
        else
            lines[#lines + 1] = indent .. label .. old
            lines[#lines + 1] = (" "):rep(#indent + format.width(label) - 2) .. "→ " .. new
        end
    end
end

local function same_length_lists(a, b)
    return type(a) == "table" and type(b) == "table" and #a > 0 and #a == #b
        and type(a[1]) == "table"
end

---Only what differs.
local function show_changes(path, before, after, indent, lines)
    if equal(before, after) then
        return
    end
    local maps = is_map(before) and (is_map(after) or type(after) == "table" and not next(after))
        or is_map(after) and type(before) == "table" and not next(before)
    if not maps and not same_length_lists(before, after) then
        return show_change(path, before, after, indent, lines)
    end
    for _, key in ipairs(tables.keys(before, after)) do
        show_changes(join(path, key), before[key], after[key], indent, lines)
    end
end

---The lines that tell an effect's states, below its summary.
---@param e dgrun.effect.record
---@param indent string
---@return string[]
function M.details(e, indent)
    local lines = {}
    local before, after = snapshot.lenient(e.before), snapshot.lenient(e.after)
    if before ~= nil and after ~= nil then
        show_changes("", before, after, indent, lines)
    elseif after ~= nil then
        show(after, "", indent, lines)
    end
    return lines
end

---"1 created, 2 updated": what effects did, by kind.
---@param effects dgrun.effect.record[]
---@param words table<string, string> by action
---@return string # "" for none
function M.counts(effects, words)
    local count, parts = {}, {}
    for _, e in ipairs(effects) do
        count[e.action] = (count[e.action] or 0) + 1
    end
    for _, action in ipairs(actions) do
        if count[action] then
            parts[#parts + 1] = ("%d %s"):format(count[action], words[action])
        end
    end
    return table.concat(parts, ", ")
end

local function step_block(r, step, lines)
    local block = {}
    for _, note in ipairs(r.notes) do
        if note.step == step then
            block[#block + 1] = "  · " .. note.text
        end
    end
    for _, e in ipairs(r.effects) do
        if e.step == step then
            block[#block + 1] = ("  %s %s"):format(M.signs[e.action], e.summary)
            for _, line in ipairs(M.details(e, "      ")) do
                block[#block + 1] = line
            end
        end
    end
    if not step and #block == 0 then
        return
    end
    lines[#lines + 1] = step and step.name or "(outside of steps)"
    for _, line in ipairs(block) do
        lines[#lines + 1] = line
    end
    if #block == 0 then
        lines[#lines + 1] = step and step.status ~= "done" and "  nothing before it failed"
            or "  no changes"
    end
    lines[#lines + 1] = ""
end

local planned = {
    create = "to create", update = "to update", destroy = "to destroy", run = "to run",
}

---The plan of a run that recorded its effects; for one that failed, what it found before.
---@param r dgrun.run
---@return string
function M.render(r)
    local lines = {}
    step_block(r, nil, lines)
    for _, step in ipairs(r.steps) do
        step_block(r, step, lines)
    end
    local counts = M.counts(r.effects, planned)
    if r.status ~= "done" then
        lines[#lines + 1] = ("The plan is incomplete. So far: %s.")
            :format(counts == "" and "no changes" or counts)
        return table.concat(lines, "\n") .. "\n\n"
    end
    lines[#lines + 1] = counts == "" and "No changes." or ("Plan: %s."):format(counts)
    return table.concat(lines, "\n") .. "\n"
end

return M
