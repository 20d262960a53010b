-- fly.deploy{via = "flyctl"}: the deploy is flyctl's own, by its documented command line; its
-- result is read back. docs/fly/deploy.md, sections 3 and 4.
local command = require "dgrun.fly.builders.command"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local flyctl = require "dgrun.fly.builders.flyctl"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"

local M = {}

local endings = {
    [126] = { code = "fly.timeout", text = "ran out of time" },
    [127] = { code = "fly.interrupted", text = "was cancelled" },
}

local function argv_of(opts, config)
    local argv = { flyctl.program(), "deploy", "-a", opts.app, "-c", config.path, "-y" }
    if opts.image then
        command.add(argv, "--image", image_of.tagged(tostring(opts.image)))
    elseif opts.commit then
        command.add(argv, "--image-label", "dgrun-" .. opts.commit:sub(1, 12))
    end
    command.add(argv, "--strategy", opts.strategy)
    command.add(argv, "--max-unavailable",
        opts.max_unavailable and ("%g"):format(opts.max_unavailable))
    command.add(argv, "--wait-timeout", opts.wait_timeout and ("%ds"):format(opts.wait_timeout))
    if opts.ha == false then
        argv[#argv + 1] = "--ha=false"
    end
    if opts.skip_release_command then
        argv[#argv + 1] = "--skip-release-command"
    end
    return argv
end

---The line that flyctl prints for programs: {"id", "version", "image_ref"}.
local function release_in(lines)
    for i = #lines, 1, -1 do
        local ok, release = pcall(json.decode, lines[i])
        if ok and type(release) == "table" and release.version and release.image_ref then
            return release
        end
    end
    err.raise { code = "fly.deploy_failed", op = "fly.deploy",
        msg = "flyctl succeeded without reporting its release",
        hint = "Check that flyctl is from August 2026 or later and supports "
            .. "FLY_EMIT_RELEASE_JSON." }
end

local function deploy(opts, config, context)
    local env = flyctl.environment()
    env.FLY_EMIT_RELEASE_JSON = "1"
    local ok, result = pcall(command.run, { builder = "flyctl", argv = argv_of(opts, config),
        env = env, cwd = context, hint = "See its output above." })
    if not ok then
        local ending = type(result) == "table" and endings[result.status]
        if err.is(result, "fly.build_failed") then
            result.code = ending and ending.code or "fly.deploy_failed"
            result.msg = ending and ("flyctl deploy %s"):format(ending.text) or result.msg
        end
        err.raise(result)
    end
    local release = release_in(result)
    -- flyctl does not know of commits; the guard against older ones does.
    for _, machine in ipairs(opts.commit and machines.list(opts.app) or {}) do
        if machines.is_managed(machine) then
            machines.set_metadata(opts.app, machine.id, "dgrun_commit", opts.commit)
            machines.set_metadata(opts.app, machine.id, "dgrun_release",
                machine.config.metadata.fly_release_id or tostring(release.id))
        end
    end
    return { id = tostring(release.id), version = release.version }
end

---@param opts dgrun.fly.deploy.options
---@param config dgrun.fly.config
---@param context string the folder that flyctl is run in and builds
---@return {id: string, version: integer}? release; in a plan an unknown value
function M.deploy(opts, config, context)
    if type(opts.strategy) == "function" then
        err.raise { code = "input.invalid", op = "fly.deploy",
            msg = "fly.deploy: flyctl cannot run a custom strategy",
            hint = 'Remove via = "flyctl".' }
    elseif not flyctl.program() then
        err.raise { code = "fly.no_builder", op = "fly.deploy", msg = "flyctl is not installed",
            hint = 'Install flyctl, or remove via = "flyctl" to let dgrun deploy.' }
    end
    return effect.write {
        kind = "fly.deploy", target = opts.app, name = "release",
        after = { image = opts.image and tostring(opts.image) or "built by flyctl",
            strategy = opts.strategy or config.deploy.strategy or "rolling" },
        summary = ("deploy %s with flyctl"):format(opts.app),
        apply = function() return deploy(opts, config, context) end,
    }
end

return M
