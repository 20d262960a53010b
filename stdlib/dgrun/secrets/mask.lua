-- Masks the values of an environment's secrets in all of dgrun's output, for commands that show the
-- output of machines. Every source is opened, even when another source overrides all of its values:
-- the app may have any of them.
local effect = require "dgrun.run.effect"
local environment = require "dgrun.project.environment"
local format = require "dgrun.core.format"
local target_of = require "dgrun.project.target"
local sources = require "dgrun.project.sources"
local task = require "dgrun.core.task"

local M = {}

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
local function report(entry, opened)
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
    report(entry, opened)
end

---@param where dgrun.target|dgrun.target[]
function M.mask(where)
    local list = {}
    for _, target in ipairs(target_of.is(where) and { where } or where) do
        list[#list + 1] = target.environment or environment.of_review_app(target.app)
    end
    task.map(list, {}, mask)
end

return M
