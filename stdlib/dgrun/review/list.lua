-- The existing review apps, and the orphans among them.
local apps = require "dgrun.fly.apps"
local apps_of = require "dgrun.review.apps"
local check = require "dgrun.core.check"
local commit_reader = require("dgrun.fly.commit").reader
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local machines = require "dgrun.fly.machines"
local releases = require "dgrun.fly.releases"
local task = require "dgrun.core.task"
local template_of = require "dgrun.project.environment_template"
local time = require "host.time"

local M = {}

local AT_ONCE = 4

local function refuse(text, ...)
    err.raise { code = "input.invalid", op = "review.strays", msg = text:format(...) }
end

---The commit that runs, where all managed machines run the same.
local function common_commit(app, list)
    local commit_of, commit = commit_reader(app), nil
    for _, machine in ipairs(list) do
        local own = machines.is_managed(machine) and commit_of(machine)
        if own and commit and own ~= commit then
            return nil
        end
        commit = own or commit
    end
    return commit
end

---@return dgrun.review.app
local function look(name, template, app, pr)
    local standing, since = apps_of.standing(app)
    local release = releases.list(app.name, 1)[1]
    local list = machines.list(app.name)
    local deployed = release and release.created_at or since
    local at = deployed and time.parse(deployed)
    return {
        app = app.name, pr = pr, machines = #list,
        commit = common_commit(app.name, list), deployed = deployed,
        age = at and math.max(0, math.floor(time.wall() - at)) or nil,
        url = template_of.fill(name, template, pr).url,
        state = standing ~= "ours" and standing
            or app.status == "pending" and "unfinished" or "deployed",
    }
end

---@param opts {template?: string}
---@return dgrun.review.app[]
function M.list(opts)
    check.options(opts, { template = "string?" }, "review.list")
    local name = opts.template or "review"
    local template = environment.template(name)
    local found = {}
    for _, app in ipairs(apps.list { org = template.org }) do
        local pr = template_of.number(template.app, app.name)
        if pr then
            found[#found + 1] = { app = app, pr = pr }
        end
    end
    local list = task.map(found, { limit = AT_ONCE }, function(one)
        return look(name, template, one.app, one.pr)
    end)
    table.sort(list, function(a, b)
        local left, right = a.age or math.huge, b.age or math.huge
        return left > right or left == right and a.pr < b.pr
    end)
    return list
end

---@param open string|integer[]
---@return table<integer, true>
local function open_set(open)
    local set = {}
    if type(open) == "string" then
        if open == "none" then
            return set
        elseif not open:match("^[%d,%s]+$") then
            refuse("open must be the numbers of open pull requests, such as 12,15, or none; not "
                .. "'%s'", open)
        end
        local list = {}
        for digits in open:gmatch("%d+") do
            list[#list + 1] = tonumber(digits)
        end
        open = list
    end
    for _, number in ipairs(open) do
        if type(number) ~= "number" or number % 1 ~= 0 or number < 1 then
            refuse("'%s' is not a pull request number", tostring(number))
        end
        set[number] = true
    end
    if next(set) == nil then
        refuse("open names no pull request: if no pull request is open, write none")
    end
    return set
end

---@param list dgrun.review.app[]
---@param opts {older?: number, open?: string|integer[]}
---@return dgrun.review.app[]
function M.pick(list, opts)
    if not opts.older and not opts.open then
        err.raise { code = "input.missing", op = "review.strays",
            msg = "no condition for orphans was given: their age, or the open pull requests",
            hint = "Use --older 7d, --open 12,15, or both." }
    end
    local open = opts.open and open_set(opts.open)
    local strays = {}
    for _, one in ipairs(list) do
        local ours = one.state == "deployed" or one.state == "unfinished"
        local old = not opts.older or one.age ~= nil and one.age >= opts.older
        if ours and old and not (open and open[one.pr]) then
            strays[#strays + 1] = one
        end
    end
    return strays
end

---@param opts dgrun.review.strays
---@return dgrun.review.app[]
function M.strays(opts)
    check.options(opts, { template = "string?", older = "seconds?", open = "any?" },
        "review.strays")
    return M.pick(M.list { template = opts.template }, opts)
end

return M
