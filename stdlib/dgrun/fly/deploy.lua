-- A deploy of an app by flyctl's algorithm: docs/fly/deploy.md. It converges: machines that
-- already match are left alone; if all of them match, no release is created.
local apply = require "dgrun.fly.apply"
local apps = require "dgrun.fly.apps"
local build = require "dgrun.fly.build"
local changes_of = require "dgrun.fly.diff"
local check = require "dgrun.core.check"
local checkouts = require "dgrun.core.checkouts"
local config_of = require "dgrun.fly.config"
local deploy_commands = require "dgrun.fly.deploy_commands"
local dossier = require "dgrun.fly.diagnosis"
local duration = require "dgrun.core.duration"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local flyctl = require "dgrun.fly.flyctl"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local gate = require "dgrun.fly.gate"
local given = require "dgrun.project.environment_options"
local health = require "dgrun.fly.health"
local image_of = require "dgrun.core.image_ref"
local leases = require "dgrun.fly.lease"
local machines = require "dgrun.fly.machines"
local migrations = require "dgrun.migrations"
local release_record = require "dgrun.fly.release_record"
local releases = require "dgrun.fly.releases"
local run = require "dgrun.run.context"
local secrets = require "dgrun.fly.secrets"
local strategies = require "dgrun.fly.strategies"
local volumes = require "dgrun.fly.volumes"

local M = {}

---@class dgrun.fly.deploy.options
---@field environment? dgrun.environment gives `app`, and `config` within the source
---@field source? dgrun.git.source gives `commit` and `context`
---@field app? string
---@field config? string|dgrun.fly.config path of the fly.toml, or one that was loaded
---@field image? string a reference; built from `context` when absent
---@field context? string the folder that is built: the checkout that has the configuration when
---  absent, wherever in it that is; elsewhere the configuration's folder
---@field migrations_dir? string folder with alembic.ini, whose heads are noted with the release;
---  `context` when absent
---@field commit? string noted on the machines and with the release
---@field heads? string[] of the image's Alembic revisions; those of the folder, when absent
---@field database_heads? string[] where the database is, when that is not where the image is
---@field strategy? "rolling"|"immediate"|"canary"|"bluegreen"|fun(deploy: dgrun.fly.deploy.blocks)
---@field on_failure? "stop"|"rollback" of rolling, "stop"
---@field gate? dgrun.fly.gate|dgrun.probe.watch asked after each machine that was updated and is
---  healthy, and without a machine at the end; by canary and bluegreen before an old machine is
---  touched. false, a verdict that is bad, or the error of a probe stops the deploy, as on_failure
---  says. Options of probe.watch are a gate too
---@field on_inconclusive? "go_on"|"fail" when a gate cannot tell: go on with a loud note, which is
---  the default, or as if it were bad
---@field max_unavailable? number below 1 a fraction, else a count, 0.33
---@field ha? boolean a second machine for each new group, true
---@field skip_release_command? boolean
---@field wait_timeout? number seconds for a machine to get healthy
---@field build? table options of fly.build: builder, args, secrets, target, …
---@field sandbox? dgrun.environment.sandbox how the local Fly runs the image; of `environment`
---@field via? "flyctl" let flyctl deploy; the result is the same

---@class dgrun.fly.deploy.result
---@field app string
---@field image string by digest, where it is known
---@field release? {id: string, version: integer}
---@field machines string[] ids
---@field changed boolean

local options = {
    app = "string", config = "any", image = "value?", commit = "string?", heads = "table?",
    database_heads = "table?", strategy = "any?", ha = "boolean?", wait_timeout = "seconds?",
    skip_release_command = "boolean?", on_failure = "string?", max_unavailable = "number?",
    build = "table?", context = "string?", migrations_dir = "string?", via = "string?",
    gate = "any?", on_inconclusive = "string?", sandbox = "table?",
}

local fill = { app = given.app, config = given.config, commit = given.commit, context = given.dir,
    migrations_dir = given.migrations_dir, sandbox = given.sandbox }

---The folder that is built.
local function context_of(opts, config)
    local checkout = checkouts.of(config.dir)
    return opts.context or checkout and checkout.dir or config.dir
end

local function seconds_of(config, name, fallback)
    return config.deploy[name] and duration.seconds(config.deploy[name]) or fallback
end

local function strategy_of(opts, config)
    local strategy = opts.strategy or config.deploy.strategy or "rolling"
    if type(strategy) == "function" then
        return strategy, "rolling"
    elseif not strategies[strategy] then
        err.raise { code = "fly.no_strategy", op = "fly.deploy",
            msg = ("unknown strategy '%s'"):format(tostring(strategy)),
            hint = "Known strategies: rolling, immediate, canary, bluegreen, or a function for "
                .. "your own." }
    end
    return strategies[strategy], strategy
end

local function on_failure_of(opts)
    local on_failure = opts.on_failure or "stop"
    if on_failure ~= "stop" and on_failure ~= "rollback" then
        err.raise { code = "input.invalid", op = "fly.deploy",
            msg = ("fly.deploy: on_failure must be stop or rollback, not '%s'"):format(on_failure) }
    end
    return on_failure
end

local function image_for(opts, config)
    local reference = opts.image or config.build.image
    if reference then
        return build.resolve(reference)
    end
    local options_given = build.options_of(config, opts.build or {})
    options_given.app = opts.app
    options_given.context = options_given.context or context_of(opts, config)
    options_given.commit = opts.commit
    options_given.sandbox = opts.sandbox
    options_given.label = options_given.label
        or (not opts.commit and "dgrun-" .. os.date("!%Y%m%d%H%M%S") or nil)
    return build.build(options_given).image
end

---Warns once for each group when nothing listens where Fly's proxy looks.
local function listen_warner(app)
    local seen = {}
    return function(group, machine)
        if not seen[group] then
            seen[group] = true
            local problem = health.port_problem(app, machine)
            if problem then
                effect.note(("group %s: %s"):format(group, problem))
            end
        end
    end
end

local function has_services(changes)
    for _, change in ipairs(changes.create) do
        if change.config.services then
            return true
        end
    end
end

---A first deploy finds no machine that deploys manage, in an app that was never deployed or that
---has other machines: docs/fly/deploy.md, section 5.
local function is_first(deploy)
    local others
    for _, machine in ipairs(deploy.all) do
        if machines.is_managed(machine) then
            return false
        end
        others = others or not machines.is_gone(machine)
    end
    return others or (deploy.status ~= "deployed" and deploy.status ~= "suspended")
end

---Volumes and addresses of a first deploy.
local function provision(deploy, changes)
    if not is_first(deploy) then
        return
    end
    volumes.provision(deploy, changes.create)
    if not has_services(changes) then
        return
    end
    apps.first_addresses {
        app = deploy.app, kinds = config_of.ip_kind(deploy.config) == "shared"
            and { "v6", "shared_v4" } or { "v4", "v6" },
    }
end

local function release_command(deploy)
    local command = deploy.config.deploy.release_command
    if not command or command == "" or deploy.skip_release_command then
        return
    end
    effect.write {
        kind = "fly.release_command.run", target = deploy.app, once = deploy.release.id,
        summary = ("run the release command: %s"):format(command),
        apply = function() return deploy_commands.release(deploy) end,
    }
end

local function create_all(deploy, changes)
    local created = {}
    for _, change in ipairs(changes.create) do
        local machine = apply.create(deploy, change, created[change.group] or change.beside)
        created[change.group] = created[change.group] or (not deploy.plan and machine.id)
    end
end

---Calls go(nonces), while the machines are leased: a plan leases none.
local function with_leases(deploy, ids, go)
    if deploy.plan or #ids == 0 then
        return go {}
    end
    leases.with(deploy.app, ids, go)
end

local function change_existing(deploy, changes)
    local ids = {}
    for _, list in ipairs { changes.update, changes.destroy } do
        for _, change in ipairs(list) do
            ids[#ids + 1] = change.machine.id
        end
    end
    with_leases(deploy, ids, function(nonces)
        for _, change in ipairs(changes.destroy) do
            apply.destroy(deploy, change, nonces[change.machine.id])
        end
        deploy.strategy(apply.steps(deploy, changes.update, nonces))
    end)
end

---Machines that are as wanted, but crash, are no success.
local function keep_all(deploy, list)
    local ids, crashed = {}, {}
    for _, machine in ipairs(list) do
        if apply.is_crashed(machine) then
            crashed[#crashed + 1], ids[#ids + 1] = machine, machine.id
        end
    end
    with_leases(deploy, ids, function(nonces)
        for _, machine in ipairs(crashed) do
            apply.keep(deploy, machine, nonces[machine.id])
        end
    end)
end

local function carry_out(deploy, changes)
    release_command(deploy)
    create_all(deploy, changes)
    change_existing(deploy, changes)
    keep_all(deploy, changes.unchanged)
    if deploy.follows_unfinished then
        release_record.mark(deploy, changes.unchanged)
    end
end

---The heads of the revision files that go with the image; nil when there are none.
local function heads_of(opts, config)
    local dir = opts.migrations_dir or context_of(opts, config)
    if opts.heads or not fs.exists(dir / "alembic.ini") then
        return opts.heads
    end
    local ok, heads = pcall(migrations.heads, { dir = dir })
    return ok and heads or nil
end

local function result_of(deploy, changed)
    local image = deploy.image
    local ids = {}
    if not deploy.plan then
        for _, machine in ipairs(machines.list(deploy.app)) do
            if machines.is_managed(machine) then
                ids[#ids + 1] = machine.id
                image = image_of.of_machine(machine)
            end
        end
        run.fact("image", image)
        if changed then
            run.fact("release", ("v%d of %s"):format(deploy.release.version, deploy.app))
        end
    end
    return { app = deploy.app, image = image, machines = ids, changed = changed,
        release = changed and not deploy.plan and deploy.release or nil }
end

local function deploy_via(opts, config)
    if opts.via ~= "flyctl" then
        err.raise { code = "input.invalid", op = "fly.deploy",
            msg = ("fly.deploy: via must be flyctl, not '%s'"):format(opts.via) }
    end
    local release = flyctl.deploy(opts, config, context_of(opts, config))
    gate.of { app = opts.app, plan = effect.planning(), gate = opts.gate,
        on_inconclusive = opts.on_inconclusive } ()
    return result_of({ app = opts.app, plan = effect.planning(), release = release,
        image = opts.image and tostring(opts.image) or "" }, true)
end

local function deploy_with(opts)
    local config = type(opts.config) == "table" and opts.config or config_of.load(opts.config)
    for _, warning in ipairs(config.warnings) do
        effect.note(warning)
    end
    local strategy, strategy_name = strategy_of(opts, config)
    local app = machines.app(opts.app)
    if opts.via then
        return deploy_via(opts, config)
    end
    local deploy = {
        app = opts.app, config = config, status = app.status, plan = effect.planning(),
        strategy = strategy, strategy_name = strategy_name,
        image = image_for(opts, config), waits = strategy_name ~= "immediate",
        max_unavailable = opts.max_unavailable or config.deploy.max_unavailable or 0.33,
        on_failure = on_failure_of(opts), gate = opts.gate, on_inconclusive = opts.on_inconclusive,
        wait_timeout = opts.wait_timeout or seconds_of(config, "wait_timeout", 300),
        release_command_timeout = seconds_of(config, "release_command_timeout", 300),
        skip_release_command = opts.skip_release_command,
        commit = opts.commit, heads = heads_of(opts, config),
        database_heads = opts.database_heads,
        secrets_version = secrets.coming_version(opts.app),
        all = machines.list(opts.app), volumes = volumes.pool(opts.app),
        warn_listen = listen_warner(opts.app),
    }
    local changes = changes_of.find(config, {
        image = deploy.image, ha = opts.ha ~= false,
        first = function() return not releases.current(opts.app) end,
        metadata = {
            dgrun_commit = opts.commit,
            dgrun_secrets = deploy.secrets_version and tostring(deploy.secrets_version),
        },
    }, deploy.all)
    if #changes.create + #changes.update + #changes.destroy == 0 then
        effect.note(("%s of %s already on %s"):format(
            format.count(#changes.unchanged, "machine"), opts.app .. (#changes.unchanged == 1
                and " is" or " are"), image_of.tagged(deploy.image)))
        keep_all(deploy, changes.unchanged)
        release_record.settle(deploy, changes.unchanged)
        return result_of(deploy, false)
    end
    deploy.already = #changes.unchanged
    provision(deploy, changes)
    release_record.around(deploy, function() carry_out(deploy, changes) end)
    return result_of(deploy, true)
end

---Brings an app to a configuration and an image. A release is made only when something changes.
---A machine that crashed until its restart policy gave up is started again.
---Errors: fly.config, fly.no_app, fly.no_image, fly.no_strategy, fly.release_command_failed,
---fly.crashed, fly.boot_failed, fly.unhealthy, fly.gate_bad, fly.lease_held, fly.lease_lost,
---fly.capacity, …; each with `details` of the machine it is about.
---@param opts dgrun.fly.deploy.options
---@return dgrun.fly.deploy.result
function M.deploy(opts)
    opts = given.fill(opts, fill, "fly.deploy")
    check.options(opts, options, "fly.deploy")
    gate.check(opts)
    return dossier.around(opts.app, deploy_with, opts)
end

return M
