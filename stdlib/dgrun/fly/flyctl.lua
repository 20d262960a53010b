-- flyctl with its remote builder: docs/fly/deploy.md, section 2. It prints the image's name and
-- size, and never its digest.
local api = require "dgrun.fly.api"
local builders = require "dgrun.fly.builders"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"

local M = {}

---@return string?
function M.program()
    return builders.find "flyctl" or builders.find "fly"
end

---The environment of flyctl: the token, and no prompts.
---@return table<string, string|userdata>
function M.environment()
    return { FLY_ACCESS_TOKEN = api.token(), FLY_API_TOKEN = false, NO_COLOR = "1",
        FLY_NO_UPDATE_CHECK = "1" }
end

local units = { B = 1, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12 }

---"image size: 123 MB", in bytes.
local function size_of(lines)
    for i = #lines, 1, -1 do
        local number, unit = lines[i]:match("image size:%s*([%d.]+)%s*(%a+)")
        if number and units[unit:upper()] then
            return math.floor(tonumber(number) * units[unit:upper()])
        end
    end
end

local function image_in(lines)
    for i = #lines, 1, -1 do
        local image = lines[i]:match("^%s*image:%s*(%S+)%s*$")
        if image then
            return image
        end
    end
end

---@param opts dgrun.fly.build.options
---@param image dgrun.fly.image that is to be made
---@return {size?: integer}
function M.build(opts, image)
    if next(opts.secrets or {}) then
        err.raise { code = "fly.build_secrets", op = "fly.build",
            msg = "flyctl takes build secrets only on its command line, where other users can "
                .. "read them",
            hint = 'Build with builder = "docker" or "buildah".' }
    end
    local argv = { M.program(), "deploy", "--build-only", "--push", "--image-label", image.tag,
        "-a", opts.app }
    builders.add(argv, "-c", opts.config)
    builders.add(argv, "--dockerfile", opts.dockerfile)
    builders.add(argv, "--ignorefile", opts.ignorefile)
    builders.add(argv, "--build-target", opts.target)
    builders.add_pairs(argv, "--build-arg", opts.args)
    builders.add_pairs(argv, "--label", opts.labels)
    local lines = builders.run { builder = "flyctl", argv = argv, env = M.environment(),
        cwd = opts.dir }
    local made = image_in(lines)
    local expected = ("%s/%s:%s"):format(image.registry, image.repository, image.tag)
    if made and made ~= expected then
        err.raise { code = "fly.build_failed", op = "fly.build", builder = "flyctl",
            msg = ("flyctl built %s instead of %s"):format(made, expected) }
    end
    return { size = size_of(lines) }
end

-- fly.deploy{via = "flyctl"}: the deploy is flyctl's own, by its documented command line; its
-- result is read back. docs/fly/deploy.md, sections 3 and 4.

local endings = {
    [126] = { code = "fly.timeout", text = "ran out of time" },
    [127] = { code = "fly.interrupted", text = "was cancelled" },
}

local function argv_of(opts, config)
    local argv = { M.program(), "deploy", "-a", opts.app, "-c", config.path, "-y" }
    if opts.image then
        builders.add(argv, "--image", image_of.tagged(tostring(opts.image)))
    elseif opts.commit then
        builders.add(argv, "--image-label", "dgrun-" .. opts.commit:sub(1, 12))
    end
    builders.add(argv, "--strategy", opts.strategy)
    builders.add(argv, "--max-unavailable",
        opts.max_unavailable and ("%g"):format(opts.max_unavailable))
    builders.add(argv, "--wait-timeout", opts.wait_timeout and ("%ds"):format(opts.wait_timeout))
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
    local env = M.environment()
    env.FLY_EMIT_RELEASE_JSON = "1"
    local ok, result = pcall(builders.run, { builder = "flyctl", argv = argv_of(opts, config),
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
    elseif not M.program() then
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
