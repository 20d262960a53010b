-- Checks everything about a deploy that the checkout and environments.yaml reveal, before the first
-- change, and reports all problems together.
local build = require "dgrun.fly.build"
local check = require "dgrun.core.check"
local checkouts = require "dgrun.core.checkouts"
local config_of = require "dgrun.fly.config"
local cron_declaration = require "dgrun.cron.spec"
local effect = require "dgrun.run.effect"
local environment_of = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local given = require "dgrun.project.environment_options"
local json = require "dgrun.core.json"
local revisions = require "dgrun.migrations.revisions"
local secrets_where = require "dgrun.secrets.where"
local strategies = require "dgrun.fly.strategies"

local M = {}

---@class dgrun.preflight.options
---@field environment dgrun.environment
---@field source dgrun.git.source the commit to deploy
---@field app? string
---@field config? string|false path of the fly.toml; false when this deploy does not use one
---@field crons? dgrun.cron.declaration[]
---@field image? string to deploy: nothing is built, so no Dockerfile is needed
---@field strategy? any of fly.deploy
---@field target? string of migrations.upgrade
---@field migrations? boolean false when this pipeline does not migrate

local options = { app = "string?", config = "any?", crons = "table?", image = "value?",
    strategy = "any?", target = "string?", migrations = "boolean?" }

local fill = { app = given.app, config = given.config, crons = given.crons,
    target = given.migrations "target" }

---Collects problems and warnings.
local function findings()
    local found = { problems = {}, warnings = {}, hints = {} }

    ---@param e any the raised error
    function found.failed(e)
        e = err.object(e)
        for _, text in ipairs(e.problems or { e.msg or tostring(e) }) do
            found.problem(text)
        end
        -- The problems of a fly.toml need no hint.
        found.hints[#found.hints + 1] = not e.problems and e.hint or nil
    end

    function found.problem(text, hint)
        table.insert(found.problems, checkouts.readable(text))
        found.hints[#found.hints + 1] = hint
    end

    function found.warn(text)
        table.insert(found.warnings, checkouts.readable(text))
    end

    ---The result of a function, or nil when it failed.
    function found.attempt(f, ...)
        local ok, result = pcall(f, ...)
        if ok then
            return result
        end
        found.failed(result)
    end
    return found
end

local function compare_app(found, config, app, environment)
    if config.app and config.app ~= app then
        found.warn(("%s: app is '%s', but %s deploys to '%s'"):format(config.path, config.app,
            environment, app))
    end
end

local function check_strategy(found, opts, config)
    local strategy = opts.strategy or config.deploy.strategy
    if type(strategy) == "string" and not strategies[strategy] then
        found.problem(("unknown strategy '%s'"):format(strategy),
            "Known strategies: rolling, immediate, canary, bluegreen.")
    end
end

local function check_build(found, opts, config, context)
    local from = config.build
    if opts.image or from.image or from.builder or from.buildpacks or from.builtin then
        return
    end
    local needed = build.options_of(config, { context = context })
    if not build.dockerfile(needed) then
        found.attempt(build.dockerfile_missing, needed)
    end
end

local function check_config(found, opts, env, source)
    if not opts.config then
        return
    elseif not fs.exists(opts.config) then
        return found.problem(("%s does not exist; 'config' of %s names it"):format(opts.config,
            env.name), "Correct 'config' in environments.yaml, or deploy a ref that has the file.")
    end
    local config = found.attempt(config_of.load, opts.config)
    if config then
        compare_app(found, config, opts.app, env.name)
        check_strategy(found, opts, config)
        check_build(found, opts, config, source.dir)
    end
end

local function check_url(found, env)
    if not env.url then
        return
    end
    local host = env.url:match "^https?://([^/%s?#]+)$"
        or env.url:match "^https?://([^/%s?#]+)/[^%s?#]*$"
    if not host or not host:find "^[%w.-]+:?%d*$" and not host:find "^%[[%x:]+%]:?%d*$" then
        found.problem(("url of %s is not a URL such as https://app.fly.dev: '%s'"):format(env.name,
            env.url), "Correct 'url' in environments.yaml.")
    end
end

local function check_cron(found, cron, opts, env, source)
    local path = source.dir / cron.config
    if fs.exists(path) then
        local base = found.attempt(cron_declaration.load, cron, source.dir)
        if base then
            compare_app(found, base.source, opts.app, env.name)
        end
    elseif cron_declaration.may_be_missing(cron) then
        effect.note(checkouts.readable(("%s does not exist: the cron machine %s stays unchanged")
            :format(path, cron.name)))
    else
        found.problem(("%s does not exist; the cron machine %s needs it"):format(path, cron.name),
            "Deploy a ref that has the file, or mark the cron machine 'optional: true'.")
    end
end

local function check_revisions(found, opts, env, source)
    local dir = given.migrations_dir(env, source)
    local declared = rawget(env, "migrations") or {}
    if opts.migrations == false or declared.command
        or (dir == source.dir and not fs.exists(dir / "alembic.ini")) then
        return
    end
    local graph = found.attempt(revisions.read, dir)
    local heads = graph and revisions.heads(graph) or {}
    local target = opts.target or "head"
    if #heads > 1 and (target == "head" or target:find "^%+") then
        found.problem(("the revisions at %s have %d heads: %s"):format(source.commit:sub(1, 7),
            #heads, format.list(heads)),
            "Merge them (alembic merge heads), or set 'target: heads' below 'migrations' of the "
            .. "environment, which upgrades to all heads.")
    end
end

---Adds a problem for each missing or invalid secret; the hint says where values belong.
local function check_secrets(found, env)
    local e = environment_of.problem(env)
    for line in (e and e.msg or ""):gmatch "[^\n]+" do
        found.problem(line)
    end
    found.hints[#found.hints + 1] = e and (e.hint
        or ("dgrun secrets where %s shows what each source has."):format(env.name))
end

local function raise(found, source)
    local hints, seen = {}, {}
    for _, hint in ipairs(found.hints) do
        if not seen[hint] then
            hints[#hints + 1], seen[hint] = hint, true
        end
    end
    err.raise { code = "refused.preflight", op = "preflight", problems = found.problems,
        msg = ("%s in %s, nothing was changed:\n%s"):format(
            format.count(#found.problems, "problem"), source.commit:sub(1, 7),
            table.concat(found.problems, "\n")),
        hint = #hints > 0 and table.concat(hints, "\n")
            or "Correct this and commit it: a deploy ships a commit." }
end

---Checks what a deploy of a checkout to an environment needs: the configuration files of the app
---and of its cron machines, the strategy, Dockerfile, url, secrets, and revisions. Reports all
---problems together.
---Errors: refused.preflight, with `problems`.
---@param opts dgrun.preflight.options
---@return {problems: string[], warnings: string[]} # no problems
function M.preflight(opts)
    local env, source = (opts or {}).environment, (opts or {}).source
    if not env or not source then
        err.raise { code = "input.missing_option", op = "preflight",
            msg = "preflight needs the options 'environment' and 'source'" }
    end
    opts = given.fill(opts, fill, "preflight")
    check.options(opts, options, "preflight")
    local found = findings()
    check_config(found, opts, env, source)
    check_url(found, env)
    for _, cron in ipairs(opts.crons or {}) do
        check_cron(found, cron, opts, env, source)
    end
    check_secrets(found, env)
    check_revisions(found, opts, env, source)
    for _, text in ipairs(secrets_where.exposed_unreported(environment_of.entry(env))) do
        found.warn(text)
    end
    for _, warning in ipairs(found.warnings) do
        effect.note("warning: " .. warning)
    end
    if #found.problems > 0 then
        raise(found, source)
    end
    return { problems = json.array {}, warnings = json.array(found.warnings) }
end

return M
