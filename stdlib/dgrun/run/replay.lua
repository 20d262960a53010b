-- What a run did before it was interrupted, for its next attempt: results of finished steps, and
-- what is known of effects that have to happen once.
local context = require "dgrun.run.context"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local journal = require "dgrun.run.journal"
local rows = require "dgrun.run.store_rows"
local secret = require "host.secret"

local M = {}

---@class dgrun.past
---@field run table its row
---@field steps table<string, table> rows by name
---@field effects table[] rows
---@field step_seq integer the last one that was given out
---@field effect_seq integer
---@field store dgrun.store
---@field dir? string folder of the attempt before, which this one continues in
---@field restorers dgrun.restorers

---How the parts of a step's result that the journal does not hold are made again.
---@class dgrun.restorers
---@field files table<string, fun(file: table)> by the kind of the file
---@field secrets fun(name: string): userdata[] the sealed values that the environments declare

---@param store dgrun.store
---@param row table of the run
---@param restorers dgrun.restorers
---@return dgrun.past
function M.load(store, row, restorers)
    local past = { run = row, store = store, steps = {}, step_seq = 0, effect_seq = 0,
        restorers = restorers }
    for _, step in ipairs(journal.steps(store, row.id)) do
        past.steps[step.name] = step
        past.step_seq = math.max(past.step_seq, step.seq)
    end
    past.effects = journal.effects(store, row.id)
    for _, effect in ipairs(past.effects) do
        past.effect_seq = math.max(past.effect_seq, effect.seq)
    end
    return past
end

local function map(value, f)
    local replaced = f(value)
    if replaced ~= nil then
        return replaced
    elseif type(value) ~= "table" then
        return value
    end
    local out = setmetatable({}, getmetatable(value))
    for key, item in pairs(value) do
        out[key] = map(item, f)
    end
    return out
end

---A step's result for the journal: paths below the run's folder, which ends with the run, are
---written relative to it.
---@param r dgrun.run
---@param value any JSON data
---@return any
function M.portable(r, value)
    local dir = rawget(r, "dir")
    if not dir then
        return value
    end
    return map(value, function(item)
        if type(item) == "string" and item:sub(1, #dir + 1) == dir .. "/" then
            return { ["$path"] = item:sub(#dir + 2) }
        end
    end)
end

---Marks a file or folder of the run that a step's result may name, and how it is made again.
---@param entry {path: string, kind: "git.export", git_dir: string, commit: string}
function M.keep(entry)
    local r, step = context.current(), context.current_step()
    if not r or not step or entry.path:sub(1, #r.dir + 1) ~= r.dir .. "/" then
        return
    end
    step.files = step.files or {}
    table.insert(step.files, { path = entry.path:sub(#r.dir + 2), kind = entry.kind,
        git_dir = entry.git_dir, commit = entry.commit })
end

local function missing(text)
    error(err.new { code = "run.not_replayable", msg = text }, 0)
end

---The sealed value of a name, in the environments of the script.
local function secret_of(r, name)
    local declared = r.past.restorers.secrets(name)
    if declared[2] then
        missing(("two environments declare a secret %s"):format(name))
    end
    return declared[1] or secret.from_env(name)
        or missing(("the secret %s in its result no longer exists"):format(name))
end

local function value_of(r, row)
    for _, file in ipairs(row.files or {}) do
        local restore = r.past.restorers.files[file.kind]
        if restore then
            restore(file)
        end
    end
    return map(row.result, function(item)
        if type(item) ~= "table" then
            return nil
        elseif item["$secret"] then
            return secret_of(r, item["$secret"])
        elseif item["$path"] then
            local path = r.dir / item["$path"]
            return fs.exists(path) and path
                or missing(("%s is gone"):format(item["$path"]))
        end
    end)
end

---What a finished step returned. Where it cannot be had again, such as a file that is gone, the
---step has to run again.
---@param r dgrun.run
---@param row table of the step
---@return boolean
---@return any # the result, or why not
function M.result(r, row)
    local ok, value = pcall(value_of, r, row)
    if not ok and err.is(value, "cancelled") then
        err.raise(value)
    end
    return ok, value
end

---The result of an effect that this run has made already.
---@param r dgrun.run
---@param e {kind: string, target: string, once: string}
---@return table? effect row
function M.done(r, e)
    -- The journal has both as they may be written.
    local redacted = rows.redacted
    local once, target = redacted(e.once), redacted(e.target)
    for _, row in ipairs(r.past and r.past.effects or {}) do
        if row.status == "done" and row.once == once and row.kind == e.kind
            and row.target == target then
            return row
        end
    end
end

---The text of each step in a script, from its name to that of the next.
local function outline(text)
    local found, order, at = {}, {}, 1
    while true do
        local from, to, quote, name = text:find("step%s*%(?%s*([\"'])([^\"'\n]+)%1", at)
        if not from then
            return found, order
        end
        local next_one = text:find("step%s*%(?%s*[\"']", to + 1)
        found[name] = text:sub(from, (next_one or #text + 1) - 1)
        order[#order + 1], at = name, to + #quote
    end
end

---How the steps of two versions of a script differ, as lines for people.
---@param old? string
---@param new? string
---@return string[]
function M.differences(old, new)
    if not old or not new then
        return { "the script's text was not recorded" }
    end
    local before, names_before = outline(old)
    local after, names_after = outline(new)
    local lines = {}
    for _, name in ipairs(names_after) do
        if not before[name] then
            lines[#lines + 1] = ("step %s is new"):format(name)
        elseif before[name] ~= after[name] then
            lines[#lines + 1] = ("step %s is different"):format(name)
        end
    end
    for _, name in ipairs(names_before) do
        if not after[name] then
            lines[#lines + 1] = ("step %s is gone"):format(name)
        end
    end
    if #lines == 0 then
        lines[1] = "only code outside the steps"
    end
    return lines
end

return M
