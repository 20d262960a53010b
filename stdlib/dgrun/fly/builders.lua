-- The programs that build an image on this computer, buildah and docker, and how a builder is run:
-- its output streams into the run's log, and a failure is an error with the last lines.
local api = require "dgrun.fly.api"
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local proc = require "dgrun.proc"
local run = require "dgrun.run.context"
local tables = require "dgrun.core.table"
local task = require "dgrun.core.task"

local M = {}

local LINES_KEPT = 2000
local LINES_TOLD = 15

---The program in PATH, or nil.
---@param name string
---@return string?
function M.find(name)
    for folder in (os.getenv("PATH") or ""):gmatch("[^:]+") do
        local stat = fs.stat(folder / name)
        if stat and stat.type ~= "directory" then
            return folder / name
        end
    end
end

---A private folder for as long as `f` runs.
---@param f fun(dir: string): any
---@return any
function M.with_folder(f)
    local dir = check(fs.temp_dir "dgrun-build")
    local ok, result = pcall(f, dir)
    task.shield(fs.remove, dir, { recursive = true })
    if not ok then
        error(result, 0)
    end
    return result
end

---@class dgrun.fly.builder.command
---@field builder string its name, for messages
---@field argv string[] never with a secret in it
---@field env? table<string, string|userdata|false>
---@field cwd? string
---@field stdin? userdata|string
---@field quiet? boolean not into the log
---@field hint? string

---@param command dgrun.fly.builder.command
---@return string[] lines of both streams, as they came
function M.run(command)
    local lines = {}
    local status = task.scope(function()
        local child = proc.spawn { argv = command.argv, env = command.env, cwd = command.cwd,
            stdin = command.stdin }
        for line in proc.lines(child) do
            lines[#lines + 1] = line
            if #lines > LINES_KEPT then
                table.remove(lines, 1)
            end
            if not command.quiet then
                run.log(line)
            end
        end
        return check(child:wait())
    end)
    if status.status == 0 and not status.signal then
        return lines
    end
    local last = {}
    for i = math.max(1, #lines - LINES_TOLD + 1), #lines do
        last[#last + 1] = lines[i]
    end
    err.raise {
        code = "fly.build_failed", op = "fly.build", builder = command.builder,
        status = status.status, signal = status.signal,
        msg = ("%s %s"):format(command.builder, status.signal
            and ("was ended by signal %d"):format(status.signal)
            or ("exited with status %d"):format(status.status)),
        details = { { title = "output", lines = last } },
        hint = command.hint or "See its output above. The app was not changed.",
    }
end

---Adds `--name key=value` for each entry, in the order of the keys.
---@param argv string[]
---@param flag string
---@param values? table<string, string>
function M.add_pairs(argv, flag, values)
    for _, name in ipairs(tables.keys(values)) do
        argv[#argv + 1] = flag
        argv[#argv + 1] = ("%s=%s"):format(name, tostring(values[name]))
    end
end

---Adds build secrets, handed over in the environment: a command line can be read by others.
---@param argv string[]
---@param env table<string, userdata|string>
---@param secrets? table<string, userdata|string>
local function add_secrets(argv, env, secrets)
    for _, name in ipairs(tables.keys(secrets)) do
        local variable = "DGRUN_SECRET_" .. name
        argv[#argv + 1] = "--secret"
        argv[#argv + 1] = ("id=%s,env=%s"):format(name, variable)
        env[variable] = secrets[name]
    end
end

---Adds `--flag value` where there is a value.
---@param argv string[]
---@param flag string
---@param value? string
function M.add(argv, flag, value)
    if value then
        argv[#argv + 1] = flag
        argv[#argv + 1] = value
    end
end

-- buildah: builds without a daemon. It logs in for one push only, in a file of its own.
M.buildah = { program = function() return M.find "buildah" end }

---Without TLS on this computer only.
local function tls(image)
    return image_of.is_loopback(image.registry) and { "--tls-verify=false" } or {}
end

local function argv_of(...)
    local argv = { M.buildah.program() }
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
    M.add(argv, "--file", opts.dockerfile)
    M.add(argv, "--ignorefile", opts.ignorefile)
    M.add(argv, "--target", opts.target)
    M.add_pairs(argv, "--build-arg", opts.args)
    M.add_pairs(argv, "--label", opts.labels)
    add_secrets(argv, env, opts.secrets)
    argv[#argv + 1] = opts.dir
    M.run { builder = "buildah", argv = argv, env = env }
end

---@param opts dgrun.fly.build.options
---@param image dgrun.fly.image that is to be made
---@return {digest: string}
function M.buildah.build(opts, image)
    local name = image_of.format(image)
    build_image(opts, name)
    return M.with_folder(function(dir)
        local auth = { "--authfile", dir / "auth.json" }
        M.run { builder = "buildah", stdin = api.token(), quiet = true,
            argv = argv_of({ "login" }, auth, tls(image),
                { "--username", "x", "--password-stdin", image.registry }),
            hint = "Check that the token belongs to this app." }
        M.run { builder = "buildah", argv = argv_of({ "push" }, auth, tls(image),
            { "--digestfile", dir / "digest", name, "docker://" .. name }) }
        local digest = (fs.read(dir / "digest", { limit = 1024 }) or ""):match "sha256:%x+"
        return { digest = digest or err.raise { code = "fly.build_failed", op = "fly.build",
            builder = "buildah", msg = "buildah did not report the digest of the pushed image" } }
    end)
end

-- docker with buildx. It logs in for one build only, in a folder of its own.
M.docker = { program = function() return M.find "docker" end }

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
function M.docker.build(opts, image)
    return M.with_folder(function(dir)
        local env = environment(dir)
        M.run { builder = "docker", env = env, stdin = api.token(), quiet = true,
            argv = { M.docker.program(), "login", "--username", "x", "--password-stdin",
                image.registry },
            hint = "Check that the token belongs to this app." }
        local argv = { M.docker.program(), "buildx", "build", "--push", "--progress", "plain",
            "--platform", "linux/amd64", "--provenance", "false",
            "--tag", image_of.format(image), "--metadata-file", dir / "metadata.json" }
        M.add(argv, "--file", opts.dockerfile)
        M.add(argv, "--target", opts.target)
        M.add_pairs(argv, "--build-arg", opts.args)
        M.add_pairs(argv, "--label", opts.labels)
        add_secrets(argv, env, opts.secrets)
        if opts.ignorefile then
            err.raise { code = "fly.no_ignorefile", op = "fly.build",
                msg = "docker reads only .dockerignore or DOCKERFILE.dockerignore",
                hint = ("Rename the file to %s.dockerignore, or build with buildah or "
                    .. "flyctl."):format(
                    opts.dockerfile or "Dockerfile") }
        end
        argv[#argv + 1] = opts.dir
        M.run { builder = "docker", argv = argv, env = env }
        return { digest = digest_in(dir / "metadata.json") }
    end)
end

return M
