-- The sample project beside a local Fly that loses no time, for tests of many deploys: images are
-- registered instead of built, dgrun is a process of its own each time.
local field_of = require "support.matrix_env"
local fs = require "host.fs"
local repository = require "support.repository"
local sample = require "support.sample"

local M = {}

local APP = "draft-app-prod"
local HOUR = 3600

---@class support.fast_project
---@field dir string
---@field field support.matrix_env
local Project = {}
Project.__index = Project

---@return support.fast_project # gone at the end of the test
function M.new()
    local field = field_of.new(sample.new().dir)
    return setmetatable({ field = field, dir = field.dir }, Project)
end

---Runs dgrun with these arguments, and with `env` where the last one is a table.
---@return {status: integer, text: string} # text: both streams
function Project:run(...)
    local argv = { ... }
    local env = type(argv[#argv]) == "table" and table.remove(argv) or nil
    return self.field:run(argv, nil, env)
end

function Project:call(method, path, value)
    return self.field:call(method, path, value)
end

function Project:write(path, text)
    assert(fs.write(self.dir / path, text))
end

---Registers an image of the production app that behaves so.
---@return string reference
function Project:image(label, behaviour)
    local ref = ("registry.fly.io/%s:%s"):format(APP, label)
    assert(self:call("POST", "/sandbox/v1/images", { ref = ref, behaviour = behaviour }) == 201)
    return ref
end

---Commits something on main, so many hours ago, and pushes it.
---@param subject string
---@param hours_ago? number
---@return string commit
function Project:commit(subject, hours_ago)
    local at = require("host.time").wall() - (hours_ago or 0) * HOUR
    local date = ("@%d +0000"):format(at)
    repository.git(self.dir, { "commit", "-q", "--allow-empty", "-m", subject },
        { GIT_COMMITTER_DATE = date, GIT_AUTHOR_DATE = date })
    repository.git(self.dir, { "push", "-q", "origin", "main" })
    return repository.git(self.dir, { "rev-parse", "HEAD" })
end

---Deploys to production with the pipeline of this name; it must go well.
function Project:deploy(pipeline, ref, image, ...)
    local run = self:run(pipeline, "--ref", ref, "--image", image, ...)
    assert(run.status == 0, run.text)
    return run
end

---The machines of production, as Fly shows them: those of deploys, and those with a schedule.
---@return table[] web
---@return table[] cron
function Project:machines()
    local _, list = self:call("GET", ("/v1/apps/%s/machines"):format(APP))
    local web, cron = {}, {}
    for _, machine in ipairs(list) do
        table.insert(machine.config.schedule and cron or web, machine)
    end
    return web, cron
end

---The labels of the images that the web machines run, joined.
---@return string
function Project:labels()
    local found, list = {}, {}
    for _, machine in ipairs((self:machines())) do
        if not found[machine.image_ref.tag] then
            list[#list + 1] = machine.image_ref.tag
        end
        found[machine.image_ref.tag] = true
    end
    table.sort(list)
    return table.concat(list, " ")
end

return M
