-- docker with buildx. It logs in for one build only, in a folder of its own.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local command = require "dgrun.fly.builders.command"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"

local M = {}

---@return string?
function M.program()
    return command.find "docker"
end

---A configuration that keeps the plugins and builders of the person, and none of their logins.
local function environment(dir)
    local own = os.getenv "DOCKER_CONFIG" or (os.getenv "HOME" or "") / ".docker"
    check(fs.write(dir / "config.json",
        json.encode { cliPluginsExtraDirs = { own / "cli-plugins" } }))
    return { DOCKER_CONFIG = dir, BUILDX_CONFIG = os.getenv "BUILDX_CONFIG" or own / "buildx",
        NO_COLOR = "1" }
end

local function digest_in(path)
    local text = fs.read(path, { limit = 1024 * 1024 })
    local ok, metadata = pcall(json.decode, text or "")
    local digest = ok and type(metadata) == "table" and metadata["containerimage.digest"]
    if type(digest) == "string" and digest:find "^sha256:%x+$" then
        return digest
    end
    err.raise { code = "fly.build_failed", op = "fly.build", builder = "docker",
        msg = "docker did not report the digest of the pushed image" }
end

---@param opts dgrun.fly.build.options
---@param image dgrun.fly.image that is to be made
---@return {digest: string}
function M.build(opts, image)
    return command.with_folder(function(dir)
        local env = environment(dir)
        command.run { builder = "docker", env = env, stdin = api.token(), quiet = true,
            argv = { M.program(), "login", "--username", "x", "--password-stdin",
                image.registry },
            hint = "Check that the token belongs to this app." }
        local argv = { M.program(), "buildx", "build", "--push", "--progress", "plain",
            "--platform", "linux/amd64", "--provenance", "false",
            "--tag", image_of.format(image), "--metadata-file", dir / "metadata.json" }
        command.add(argv, "--file", opts.dockerfile)
        command.add(argv, "--target", opts.target)
        command.add_pairs(argv, "--build-arg", opts.args)
        command.add_pairs(argv, "--label", opts.labels)
        command.add_secrets(argv, env, opts.secrets)
        if opts.ignorefile then
            err.raise { code = "fly.no_ignorefile", op = "fly.build",
                msg = "docker reads only .dockerignore or DOCKERFILE.dockerignore",
                hint = ("Rename the file to %s.dockerignore, or build with buildah or "
                    .. "flyctl."):format(
                    opts.dockerfile or "Dockerfile") }
        end
        argv[#argv + 1] = opts.dir
        command.run { builder = "docker", argv = argv, env = env }
        return { digest = digest_in(dir / "metadata.json") }
    end)
end

return M
