-- buildah: builds without a daemon. It logs in for one push only, in a file of its own.
local api = require "dgrun.fly.api"
local command = require "dgrun.fly.builders.command"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local image_of = require "dgrun.core.image_ref"
local registry = require "dgrun.fly.registry"

local M = {}

---@return string?
function M.program()
    return command.find "buildah"
end

---Without TLS on this computer only.
local function tls(image)
    return registry.is_loopback(image.registry) and { "--tls-verify=false" } or {}
end

local function argv_of(...)
    local argv = { M.program() }
    for _, list in ipairs { ... } do
        for _, word in ipairs(list) do
            argv[#argv + 1] = word
        end
    end
    return argv
end

local function build_image(opts, name)
    local env = {}
    local argv = argv_of { "build", "--format", "docker", "--tag", name }
    command.add(argv, "--file", opts.dockerfile)
    command.add(argv, "--ignorefile", opts.ignorefile)
    command.add(argv, "--target", opts.target)
    command.add_pairs(argv, "--build-arg", opts.args)
    command.add_pairs(argv, "--label", opts.labels)
    command.add_secrets(argv, env, opts.secrets)
    argv[#argv + 1] = opts.dir
    command.run { builder = "buildah", argv = argv, env = env }
end

---@param opts dgrun.fly.build.options
---@param image dgrun.fly.image that is to be made
---@return {digest: string}
function M.build(opts, image)
    local name = image_of.format(image)
    build_image(opts, name)
    return command.with_folder(function(dir)
        local auth = { "--authfile", dir / "auth.json" }
        command.run { builder = "buildah", stdin = api.token(), quiet = true,
            argv = argv_of({ "login" }, auth, tls(image),
                { "--username", "x", "--password-stdin", image.registry }),
            hint = "Check that the token belongs to this app." }
        command.run { builder = "buildah", argv = argv_of({ "push" }, auth, tls(image),
            { "--digestfile", dir / "digest", name, "docker://" .. name }) }
        local digest = (fs.read(dir / "digest", { limit = 1024 }) or ""):match "sha256:%x+"
        return { digest = digest or err.raise { code = "fly.build_failed", op = "fly.build",
            builder = "buildah", msg = "buildah did not report the digest of the pushed image" } }
    end)
end

return M
