-- From a folder to an image in the registry, by the builder that is there. The local Fly builds by
-- itself.
local api = require "dgrun.fly.api"
local build_programs = require "dgrun.fly.builders"
local check = require "dgrun.core.check"
local config_of = require "dgrun.fly.config"
local digest = require "host.digest"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local flyctl = require "dgrun.fly.flyctl"
local fs = require "host.fs"
local given = require "dgrun.project.environment_options"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local path_of = require "dgrun.core.path"
local retry = require "dgrun.fly.retry"
local run = require "dgrun.run.context"
local tables = require "dgrun.core.table"
local time = require "host.time"

local M = {}

---In the order in which they are looked for.
local order = { "flyctl", "docker", "buildah" }
local builders = { buildah = build_programs.buildah, docker = build_programs.docker,
    flyctl = flyctl }

-- The registry's own API: what a tag stands for. OCI distribution specification.

local FLY = "registry.fly.io"
local ACCEPT = table.concat({
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}, ", ")

local function url_of(registry)
    if registry == FLY then
        return api.registry_url()
    end
    return image_of.url(registry)
end

---An answer about an image that does not say which was garbled on its way.
local function with_digest(answer, e)
    if answer and answer.status == 200 and not answer.headers["docker-content-digest"] then
        return nil, err.new { code = "fly.unreadable", sent = "maybe", op = "fly.registry",
            msg = "the registry's response has no digest" }
    end
    return answer, e
end

local function ask_registry(method, image)
    local reference = image.tag or image.digest or "latest"
    local what = ("%s %s/%s:%s"):format(method, image.registry, image.repository, reference)
    local token = digest.base64("x:" .. api.token())
    return retry.send {
        method = method, what = what,
        send = function()
            return with_digest(require("host.http").request {
                url = ("%s/v2/%s/manifests/%s"):format(url_of(image.registry), image.repository,
                    reference),
                method = method, headers = { Authorization = "Basic " .. token, Accept = ACCEPT },
            })
        end,
    }, what
end

local function refused_by_registry(answer, what)
    err.raise {
        code = (answer.status == 401 or answer.status == 403) and "fly.unauthorized"
            or "fly.registry",
        op = "fly.registry", status = answer.status,
        msg = ("%s: the registry answered %d%s"):format(what, answer.status,
            retry.request_note(answer.headers["fly-request-id"])),
    }
end

---The digest of an image; nil when the registry does not have it.
---@param image dgrun.fly.image
---@return string?
local function digest_of(image)
    local answer, what = ask_registry("HEAD", image)
    if answer.status == 200 then
        return answer.headers["docker-content-digest"]
    elseif answer.status == 404 then
        return nil
    end
    refused_by_registry(answer, what)
end

---The bytes of an image as it is stored, compressed; nil where the manifest does not tell.
---@param image dgrun.fly.image
---@return integer?
local function size_of(image)
    local answer, what = ask_registry("GET", image)
    if answer.status ~= 200 then
        refused_by_registry(answer, what)
    end
    local ok, manifest = pcall(json.decode, answer.body)
    if not ok or type(manifest) ~= "table" or type(manifest.layers) ~= "table" then
        return nil
    end
    local size = type(manifest.config) == "table" and tonumber(manifest.config.size) or 0
    for _, layer in ipairs(manifest.layers) do
        size = size + (tonumber(layer.size) or 0)
    end
    return size
end

---Does this plan build the image?
local function is_planned(reference)
    local r = effect.planning() and run.current()
    for _, planned in ipairs(r and r.effects or {}) do
        if planned.kind == "fly.image.build" and planned.target == reference then
            return true
        end
    end
    return false
end

---The image a reference names, with its digest where Fly's registry knows it. One that the plan at
---hand builds has none yet.
---@param reference string
---@return string
function M.resolve(reference)
    local image = image_of.parse(reference)
    if image.digest or image.registry ~= FLY or is_planned(reference) then
        return reference
    end
    image.digest = digest_of(image)
    if not image.digest then
        err.raise { code = "fly.no_image", op = "fly.image", image = reference,
            msg = ("the registry has no image %s"):format(reference),
            hint = "Build it first (dg.fly.build), or give an image that exists in the registry." }
    end
    return image_of.format(image)
end

---@class dgrun.fly.build.options
---@field environment? dgrun.environment gives `app` and `config`
---@field source? dgrun.git.source gives `context` and `commit`
---@field app? string
---@field context? string the folder that is sent to the builder: the checkout, wherever in it the
---  fly.toml is, as with flyctl the folder that it is run in
---@field dir? string the same
---@field label? string the tag; dgrun-COMMIT when `commit` is given
---@field commit? string
---@field builder? "flyctl"|"docker"|"buildah" the first one found, when absent
---@field config? string path of the fly.toml; its [build] goes before the options dockerfile,
---  ignorefile and target, and after args
---@field dockerfile? string path; Dockerfile or dockerfile in the context when absent
---@field ignorefile? string path; when absent DOCKERFILE.dockerignore beside the Dockerfile, else
---  .dockerignore in the context
---@field target? string stage of a Dockerfile with several
---@field args? table<string, string> build arguments
---@field secrets? table<string, userdata|string> build secrets, by id
---@field labels? table<string, string> of the image
---@field registry? string "registry.fly.io"
---@field sandbox? dgrun.environment.sandbox how the local Fly runs the image; of `environment`

local options = {
    app = "string", dir = "string?", context = "string?", label = "string?", commit = "string?",
    builder = "string?",
    config = "string?", dockerfile = "string?", ignorefile = "string?", target = "string?",
    args = "table?", secrets = "table?", labels = "table?", registry = "string?",
    sandbox = "table?",
}

---@class dgrun.fly.build.result
---@field image string by digest, where it is known: not in a plan
---@field digest? string
---@field size? integer bytes
---@field seconds? number

local function on_sandbox(opts, label)
    local sandbox = opts.sandbox or {}
    return {
        name = "sandbox",
        build = function()
            local built = api.machines("POST", "/sandbox/v1/builds",
                { json = { app = opts.app, label = label, dir = opts.dir,
                    dockerfile = opts.dockerfile, ignorefile = opts.ignorefile,
                    target = opts.target, args = opts.args,
                    simulate = sandbox.simulate, python = sandbox.python }, timeout = 300 })
            if (built.not_run or 0) > 0 then
                effect.note("the local Fly does not execute the RUN instructions of the Dockerfile")
            end
            return built
        end,
    }
end

local function named(name)
    return builders[name] or err.raise { code = "input.invalid", op = "fly.build",
        msg = ("fly.build: builder '%s' is not one of %s"):format(tostring(name),
            table.concat(order, ", ")) }
end

local function builder_of(opts, label)
    if opts.builder then
        local builder = named(opts.builder)
        if not builder.program() then
            err.raise { code = "fly.no_builder", op = "fly.build",
                msg = ("the builder %s is not installed"):format(opts.builder),
                hint = ("Install %s, or give an existing image: --image REF."):format(
                    opts.builder) }
        end
        return { name = opts.builder, build = builder.build }
    elseif api.is_local() then
        return on_sandbox(opts, label)
    end
    for _, name in ipairs(order) do
        if named(name).program() then
            return { name = name, build = named(name).build }
        end
    end
    err.raise { code = "fly.no_builder", op = "fly.build",
        msg = "no image builder found: flyctl, docker, and buildah are not on PATH",
        hint = "Install one of them, or give an existing image: --image REF." }
end

local function label_of(opts)
    return opts.label or (opts.commit and "dgrun-" .. opts.commit:sub(1, 12)) or err.raise {
        code = "input.missing_option", op = "fly.build",
        msg = "fly.build needs the option 'label' or 'commit'",
    }
end

---An image that runs in another way is another image.
---@param sandbox? dgrun.environment.sandbox
local function label_on_sandbox(label, sandbox)
    if sandbox and sandbox.simulate then
        effect.note("the local Fly simulates this image: its program does not run "
            .. "(sandbox.simulate in environments.yaml)")
        return label .. "-simulated"
    elseif sandbox and sandbox.python then
        return ("%s-python-%s"):format(label, digest.sha256(sandbox.python):sub(1, 6))
    end
    return label
end

---The options as a builder gets them: with the commit as a label, and the Dockerfile for builders
---that would look for another one.
local function prepared(opts, builder)
    local copy = tables.merged(opts)
    if builder.name ~= "flyctl" then
        copy.dockerfile = M.dockerfile(opts) or opts.dockerfile
    end
    if not opts.commit then
        return copy
    end
    copy.labels = { ["org.opencontainers.image.revision"] = opts.commit }
    for name, value in pairs(opts.labels or {}) do
        copy.labels[name] = value
    end
    return copy
end

local function carry_out(builder, opts, image)
    local started = time.now()
    local built = builder.build(prepared(opts, builder), image)
    image.digest = built.digest or digest_of(image)
    if not image.digest then
        err.raise { code = "fly.build_failed", op = "fly.build", builder = builder.name,
            msg = ("%s succeeded, but the registry has no %s"):format(builder.name,
                image_of.format(image)) }
    end
    local size = built.size
    if not size and builder.name ~= "sandbox" then
        local ok, bytes = pcall(size_of, image)
        size = ok and bytes or nil
    end
    return { digest = image.digest, size = size, seconds = time.now() - started }
end

---The Dockerfile of a build; nil where there is none.
---@param opts {context?: string, dir?: string, dockerfile?: string}
---@return string? # path, or a URL as a fly.toml may name one
function M.dockerfile(opts)
    local context = opts.context or opts.dir
    if opts.dockerfile and opts.dockerfile:find "^https?://" then
        return opts.dockerfile
    end
    local names = opts.dockerfile and { opts.dockerfile } or { "Dockerfile", "dockerfile" }
    for _, name in ipairs(names) do
        if fs.exists(path_of.join(context, name)) then
            return path_of.join(context, name)
        end
    end
end

---@param opts {context?: string, dir?: string, dockerfile?: string}
function M.dockerfile_missing(opts)
    local context = opts.context or opts.dir
    err.raise { code = "fly.no_dockerfile", op = "fly.build",
        msg = opts.dockerfile and path_of.join(context, opts.dockerfile) .. " does not exist"
            or ("no Dockerfile in %s"):format(context),
        hint = "[build] dockerfile is relative to the fly.toml; without it, dgrun uses the "
            .. "Dockerfile "
            .. "at the top of the repository." }
end

local fill = { app = given.app, context = given.dir, commit = given.commit, config = given.config,
    sandbox = given.sandbox }

---Builds an image and pushes it, unless the registry has it under this label.
---@param opts dgrun.fly.build.options
---@return dgrun.fly.build.result
function M.build(opts)
    local declared = opts.environment ~= nil
    opts = given.fill(opts, fill, "fly.build")
    check.options(opts, options, "fly.build")
    if declared and opts.config then
        opts = M.options_of(config_of.load(opts.config), opts)
    end
    opts.dir = opts.context or opts.dir or err.raise { code = "input.missing_option",
        op = "fly.build", msg = "fly.build needs the option 'context' or 'source'" }
    opts.context = nil
    local label = label_of(opts)
    if api.is_sandbox() and not opts.builder then
        label = label_on_sandbox(label, opts.sandbox)
    end
    local builder = builder_of(opts, label)
    local image = { registry = opts.registry or FLY, repository = opts.app,
        tag = label }
    image.digest = digest_of(image)
    if image.digest then
        effect.note(("image %s already exists"):format(label))
        return { image = image_of.format(image), digest = image.digest }
    end
    local built = effect.write {
        kind = "fly.image.build", target = image_of.format(image),
        after = { label = label, builder = builder.name ~= "sandbox" and builder.name or nil },
        summary = ("build image %s of %s"):format(label, opts.app), name = "image",
        apply = function() return carry_out(builder, opts, image) end,
    }
    if effect.planning() then
        return { image = image_of.format(image) }
    end
    return { image = image_of.format(image), digest = built.digest, size = built.size,
        seconds = built.seconds }
end

---The options of a build as a fly.toml gives them: docs/fly/fly-toml.md, section 2.2. What the
---caller gives goes before, but the file's own Dockerfile and target before the caller's.
---@param config dgrun.fly.config
---@param own table
---@return table
function M.options_of(config, own)
    local build = config.build
    local opts = tables.merged(own)
    local function below(path)
        return path and (path:find "^https?://" and path or config.dir / path) or nil
    end
    opts.config = opts.config or config.path
    opts.dockerfile = below(build.dockerfile) or opts.dockerfile
    opts.ignorefile = below(build.ignorefile) or opts.ignorefile
    opts.target = build["build-target"] or opts.target
    local args = tables.merged(build.args, own.args)
    for name, value in pairs(args) do
        args[name] = tostring(value)
    end
    opts.args = next(args) and args or nil
    return opts
end

return M
