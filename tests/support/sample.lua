-- The sample application as a project in a temporary folder, and dgrun run in it as people do.
local background = require "support.background"
local daemon = require "support.daemon"
local fs = require "host.fs"
local proc = require "host.proc"
local repository = require "support.repository"
local task = require "dgrun.core.task"
local templates = require "support.templates"

local M = {}

local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"
local root = fs.cwd()

---@class support.project
---@field dir string
---@field env? table<string, string> of dgrun in it
---@field apps string[] of stage and prod
local Project = {}
Project.__index = Project

---@param script string
---@param dir string
---@param env? table<string, string>
local function make(script, dir, env)
    local made = assert(proc.run { argv = { root / "tests/fixtures" / script, dir }, env = env })
    assert(made.status == 0, made.stderr)
end

---Copies a project that is made once in a run of tests; the copy knows where it is.
---@param script string
---@param dir string
---@param env? table<string, string>
local function copy(script, dir, env)
    local template = templates.once(script, function(made) make(script, made, env) end)
    daemon.output { "cp", "-aT", template, dir }
    local config = assert(fs.read(dir / ".git/config"))
    local made_at = assert(config:match "file://(.-)/origin%.git"):gsub("%p", "%%%0")
    local here = dir:gsub("%%", "%%%%")
    for _, name in ipairs { ".git/config", ".env.stage", ".env.prod", ".env.review" } do
        local text = fs.read(dir / name)
        if text then
            local mode = name:find "^%.env" and "0600" or "0644"
            assert(fs.write(dir / name, (text:gsub(made_at, here)), { mode = mode }))
        end
    end
end

---Gives the sample application databases at its last revision, as Alembic leaves them.
---@param dir string of the project
local function migrate(dir)
    local database = templates.once("migrated.db", function(made)
        local result = assert(proc.run { argv = { "alembic", "upgrade", "head" }, cwd = dir, env = {
            DATABASE_URL = "sqlite+aiosqlite:///" .. made, PYTHONDONTWRITEBYTECODE = "1" } })
        assert(result.status == 0, result.stderr)
    end)
    for _, name in ipairs { "stage.db", "prod.db" } do
        daemon.output { "cp", database, dir / name }
    end
end

---@class support.sample.options
---@field script? string another of the fixtures that makes a project
---@field made_with? table<string, string> environment of the script
---@field env? table<string, string> of dgrun in the project
---@field apps? string[] its two, stage and prod
---@field fresh? boolean nothing has migrated its databases yet: for tests of migrations

---@param opts? support.sample.options
---@return support.project
function M.new(opts)
    opts = opts or {}
    local dir = fs.real(assert(fs.temp_dir "sample"))
    task.defer(function() background.remove(dir) end)
    if opts.made_with then
        make(opts.script, dir, opts.made_with)
    else
        copy(opts.script or "make-project.sh", dir, opts.env)
    end
    if not opts.script and not opts.fresh then
        migrate(dir)
    end
    return setmetatable({ dir = dir, env = opts.env,
        apps = opts.apps or { "draft-app", "draft-app-prod" } }, Project)
end

local function clean_environment(more)
    local env = { PATH = os.getenv "PATH", HOME = "/nonexistent", LANG = "C.UTF-8",
        TMPDIR = os.getenv "TMPDIR", ASAN_OPTIONS = os.getenv "ASAN_OPTIONS",
        LSAN_OPTIONS = os.getenv "LSAN_OPTIONS", DGRUN_STDLIB = os.getenv "DGRUN_STDLIB",
        DGRUN_EXCHANGES = os.getenv "DGRUN_EXCHANGES" }
    for name, value in pairs(more or {}) do
        env[name] = value
    end
    return env
end

---Runs dgrun with these arguments.
---@param argv string[]
---@param opts? {env?: table, timeout?: number, cwd?: string, stdin?: string}
---@return {status: integer, stdout: string, stderr: string, all: string}
function Project:run(argv, opts)
    opts = opts or {}
    local env = clean_environment(self.env)
    for name, value in pairs(opts.env or {}) do
        env[name] = value
    end
    local result = assert(proc.run {
        argv = { binary, unpack(argv) }, cwd = opts.cwd or self.dir, clean_env = true,
        env = env, timeout = opts.timeout or 120, stdin = opts.stdin,
    })
    result.all = result.stdout .. result.stderr
    return result
end

---@return string? text of a file of the project
function Project:read(path)
    return fs.read(self.dir / path, { limit = 64 * 2 ^ 20 })
end

function Project:write(path, text)
    assert(fs.write(self.dir / path, text))
end

---Replaces plain text in a file of the application and commits it.
function Project:edit(path, from, to)
    local text = assert(self:read(path))
    local at, last = text:find(from, 1, true)
    assert(at, "the text to replace is not in " .. path)
    self:commit({ [path] = text:sub(1, at - 1) .. to .. text:sub(last + 1) })
end

---@param files table<string, string>
---@return string commit
function Project:commit(files)
    return repository.commit(self.dir, files)
end

---All that a run could change: the local Fly, the database, the repository, the store. What goes on
---in the background is ended before.
function Project:snapshot()
    background.stop(self.dir)
    return repository.snapshot(self.dir)
end

---The local Fly of the project, in the background: with_fly(function(call) … end)
---@param body fun(call: fun(method: string, path: string, value?: table): integer, any)
function Project:with_fly(body)
    local json = require "dgrun.core.json"
    local fly = background.start(self.dir, clean_environment(self.env))
    local function call(method, path, value)
        local answer = assert(require("host.http").request {
            url = fly.url .. path, method = method, body = value and json.encode(value) or nil,
            headers = { Authorization = "Bearer " .. fly.token },
        })
        return answer.status, answer.body ~= "" and json.decode(answer.body) or nil
    end
    assert(call("POST", "/sandbox/v1/apps", { names = self.apps }) == 200)
    body(call)
end

---Registers an image of an app, of the production app when absent, that behaves so.
---@return string reference
function Project:image(label, behaviour, app)
    local ref = ("registry.fly.io/%s:%s"):format(app or self.apps[2], label)
    self:with_fly(function(call)
        assert(call("POST", "/sandbox/v1/images", { ref = ref, behaviour = behaviour }) == 201)
    end)
    return ref
end

---The rows of a query on a SQLite database of the project.
function Project:query(file, sql)
    -- For writing: a machine that was killed while it wrote is rolled back by whoever reads next.
    local db = assert(require("host.sqlite").open(self.dir / file, { create = false }))
    local rows = assert(db:query(sql))
    db:close()
    return rows
end

return M
