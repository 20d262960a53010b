-- The pipelines of the sample before a deploy, for matrices: templates of the project and its local
-- Fly, and what both must look like when all is done.
local field_of = require "support.matrix_env"
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

local root = fs.cwd()

local function image(app)
    return ("registry.fly.io/%s:two"):format(app)
end

---The pipelines, with what they are called with, and the app they are about; `from` is the template
---they begin with: nothing was ever deployed, or v1.1.0 was. `migrated`: the same, but the database
---is already where the pipeline takes it; so a run costs no start of Alembic, which is most of what
---it costs, and leaves the same state. `alike`: much of it is as in others,
---so that only the full tier runs it.
M.list = {
    { name = "a first prod_deploy", from = "new", app = "draft-app-prod", database = "prod.db",
        migrated = "new_migrated", alike = true,
        argv = { "prod_deploy", "--ref", "v1.2.0", "--image", image "draft-app-prod" } },
    { name = "prod_deploy", from = "old", app = "draft-app-prod", database = "prod.db",
        migrated = "old_migrated",
        argv = { "prod_deploy", "--ref", "v1.2.0", "--image", image "draft-app-prod" } },
    { name = "stage_deploy", from = "old", app = "draft-app", database = "stage.db",
        migrated = "old_migrated",
        argv = { "stage_deploy", "--ref", "v1.2.0", "--image", image "draft-app" } },
    { name = "cron_setup", from = "old", app = "draft-app-prod",
        argv = { "cron_setup", "--environment", "prod", "--ref", "v1.2.0" } },
    { name = "a first review_app deploy", from = "new", app = "draft-app-pr-12",
        alike = true,
        argv = { "review_app", "deploy", "--pr", "12", "--ref", "v1.2.0", "--image",
            image "draft-app" } },
}

---Every change of the database's revision leaves a row: what was applied twice is seen.
local WATCH = [[CREATE TABLE applied (revision TEXT);
    CREATE TRIGGER watch AFTER UPDATE ON alembic_version
    BEGIN INSERT INTO applied VALUES (new.version_num); END]]

local function point_databases_at(dir)
    for _, name in ipairs { "stage", "prod" } do
        local file = dir / (".env." .. name)
        local text = assert(fs.read(file))
        assert(fs.write(file, (text:gsub("aiosqlite:///[^\n]*/(%l+%.db)", function(database)
            return "aiosqlite:///" .. dir .. "/" .. database
        end)), { mode = "0600" }))
    end
end

local function change_cron(dir)
    -- Its declaration differs from what was deployed, so that there is something to do.
    local path = dir / "scripts/environments.yaml"
    local text = assert(fs.read(path))
    assert(fs.write(path, (text:gsub("schedule: hourly", "schedule: daily"))))
end

local function register(field, label)
    for _, app in ipairs(field_of.apps) do
        local status = field:call("POST", "/sandbox/v1/images",
            { ref = ("registry.fly.io/%s:%s"):format(app, label) })
        assert(status == 201)
    end
end

local function closed_copy(field, to)
    field.fly.close()
    field.fly = nil
    field_of.copy(field.dir, to)
end

local databases = { "stage.db", "prod.db" }

---Migrates the databases of a project as a person would.
---@param made string the project that has the repository
local function migrate(made, dir, ref)
    local source = made / "../source"
    assert(proc.run({ argv = { "git", "-C", made, "worktree", "add", "-q", source, ref } })
        .status == 0)
    for _, name in ipairs(databases) do
        local result = assert(proc.run { argv = { "alembic", "upgrade", "head" }, cwd = source,
            env = { DATABASE_URL = "sqlite+aiosqlite:///" .. dir .. "/" .. name } })
        assert(result.status == 0, result.stderr)
    end
    assert(proc.run({ argv = { "git", "-C", made, "worktree", "remove", "--force", source } })
        .status == 0)
end

---The databases at v1.1.0, where nothing was deployed yet.
local function prepare_databases(dir)
    migrate(dir, dir, "v1.1.0")
    for _, name in ipairs(databases) do
        local db = assert(require("host.sqlite").open(dir / name))
        assert(db:exec(WATCH))
        db:close()
    end
end

---Copies templates; the databases of the copies are at v1.2.0.
local function add_migrated(dir)
    for _, name in ipairs { "new", "old" } do
        field_of.copy(dir / name, dir / name .. "_migrated")
    end
    migrate(dir / "made", dir / "new_migrated", "v1.2.0")
    for _, name in ipairs(databases) do
        assert(fs.copy(dir / "new_migrated" / name, dir / "old_migrated" / name))
    end
end

local made_templates

---Those of `templates` are removed.
function M.forget_templates()
    if made_templates then
        fs.remove(made_templates.dir, { recursive = true })
        made_templates = nil
    end
end

---Folders to begin with, by name: "new", "old", and both with "_migrated". They are made once, and
---stay until forget_templates.
---@return table<string, string>
function M.templates()
    if made_templates then
        return made_templates
    end
    local dir = fs.real(assert(fs.temp_dir "template"))
    made_templates = { dir = dir }
    local made = assert(proc.run {
        argv = { root / "tests/fixtures/make-project.sh", dir / "made" } })
    assert(made.status == 0, made.stderr)
    prepare_databases(dir / "made")
    task.scope(function()
        local field = field_of.new(dir / "made")
        point_databases_at(field.dir)
        register(field, "one")
        register(field, "two")
        closed_copy(field, dir / "new")
        field:open()
        for _, app in ipairs(field_of.apps) do
            local name = app == "draft-app" and "stage_deploy" or "prod_deploy"
            local run = field:run { name, "--ref", "v1.1.0", "--image",
                ("registry.fly.io/%s:one"):format(app) }
            assert(run.status == 0, run.text)
        end
        change_cron(field.dir)
        closed_copy(field, dir / "old")
    end)
    add_migrated(dir)
    for _, name in ipairs { "new", "old", "new_migrated", "old_migrated" } do
        made_templates[name] = dir / name
    end
    return made_templates
end

---@param template string
---@return support.matrix_env
function M.field(template)
    local field = field_of.new(template)
    point_databases_at(field.dir)
    return field
end

local function sorted_keys(t)
    local names = {}
    for name in pairs(t or {}) do
        names[#names + 1] = name
    end
    table.sort(names)
    return table.concat(names, " ")
end

---A machine with a schedule comes and goes; what counts is that its schedule goes on.
local function state_of(machine)
    if not machine.config.schedule then
        return machine.state
    end
    return require("dgrun.fly.machines").was_started(machine) and "armed" or "left stopped"
end

local function machine_text(machine)
    local config = machine.config
    local metadata = config.metadata or {}
    return ("%s %s %s %s commit=%s schedule=%s init=%s env=%s"):format(
        metadata.dgrun_cron or metadata.fly_process_group or machine.name, state_of(machine),
        config.image:match("[^:/]+:%w+") or config.image,
        machine.cordoned and "cordoned" or "open", tostring(metadata.dgrun_commit),
        tostring(config.schedule), require("dgrun.core.json").encode(config.init or {}),
        sorted_keys(config.env))
end

local on_its_way = { created = true, starting = true, replacing = true, stopping = true }

local function settled_machines(field, app)
    local _, machines
    task.timeout(10, function()
        local moving
        repeat
            _, machines = field:call("GET", ("/v1/apps/%s/machines"):format(app))
            moving = false
            for _, machine in ipairs(machines) do
                moving = moving or on_its_way[machine.state]
            end
            task.sleep(moving and 0.01 or 0)
        until not moving
    end)
    return machines
end

---What the world is like, as text that is the same for the same state.
---@param field support.matrix_env
---@param app string
---@return string
function M.state(field, app)
    local lines = {}
    for _, machine in ipairs(settled_machines(field, app)) do
        if machine.state ~= "destroyed" and machine.state ~= "destroying" then
            lines[#lines + 1] = machine_text(machine)
        end
        local status = field:call("GET", ("/v1/apps/%s/machines/%s/lease"):format(app, machine.id))
        if status == 200 then
            lines[#lines + 1] = "a lease is held of " .. machine.id
        end
    end
    local _, secrets = field:call("GET", ("/v1/apps/%s/secrets"):format(app))
    for _, secret in ipairs(secrets.secrets) do
        lines[#lines + 1] = "secret " .. secret.name
    end
    local _, addresses = field:call("GET", ("/v1/apps/%s/ip_assignments"):format(app))
    for _, one in ipairs(addresses.ips) do
        lines[#lines + 1] = "address " .. (one.shared and "shared" or one.ip:match(":") or "v4")
    end
    local _, releases = field:call("GET", ("/api/v1/apps/%s/releases"):format(app))
    for _, release in ipairs(releases.releases) do
        if release.status == "complete" or release.in_progress then
            lines[#lines + 1] = ("release of %s: %s"):format(release.image_ref, release.status)
        end
    end
    table.sort(lines)
    return table.concat(lines, "\n")
end

---The database and what was applied to it, and how often.
---@return string
function M.database(field, name)
    local version = field:query(name, "SELECT version_num FROM alembic_version")[1].version_num
    local lines = { "at " .. version }
    for _, row in ipairs(field:query(name,
        "SELECT revision, count(*) AS n FROM applied GROUP BY revision ORDER BY revision")) do
        lines[#lines + 1] = ("%s applied %d time(s)"):format(row.revision, row.n)
    end
    return table.concat(lines, "\n")
end

---Nobody has a ticket, no run is left unfinished.
---@return string
function M.journal(field)
    local tickets = field:query(".dgrun/state.db", "SELECT count(*) AS n FROM tickets")[1].n
    local open = field:query(".dgrun/state.db",
        "SELECT count(*) AS n FROM runs WHERE status <> 'done'")[1].n
    local effects = field:query(".dgrun/state.db", [[SELECT count(*) AS n FROM effects
        WHERE status NOT IN ('done', 'settled', 'failed')]])[1].n
    return ("%d tickets, %d open runs, %d open effects"):format(tickets, open, effects)
end

---All that counts after a pipeline.
---@param field support.matrix_env
---@param pipeline table of `list`
---@return string
function M.whole(field, pipeline)
    return table.concat({ M.state(field, pipeline.app),
        pipeline.database and M.database(field, pipeline.database) or "", M.journal(field) }, "\n")
end

---What a pipeline leaves when nothing disturbs it.
---@param pipeline table of `list`
---@param template string
---@param run? fun(field: support.matrix_env): any runs it
---@return string
---@return any # what `run` returns
function M.undisturbed(pipeline, template, run)
    return task.scope(function()
        local field = M.field(template)
        local result
        if run then
            result = run(field)
        else
            local ended = field:run(pipeline.argv)
            assert(ended.status == 0, ended.text)
        end
        return M.whole(field, pipeline), result
    end)
end

return M
