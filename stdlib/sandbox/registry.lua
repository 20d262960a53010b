-- Requests that make images: those built here from a folder, and those registered with a behaviour.
local answer = require "sandbox.answer"
local apps = require "sandbox.apps"
local behaviour_of = require "sandbox.behaviour"
local digest = require "host.digest"
local dockerfile_of = require "sandbox.dockerfile"
local dockerignore = require "sandbox.dockerignore"
local fs = require "host.fs"
local check = require "dgrun.core.check"
local image_command = require "sandbox.image_command"
local image_files = require "sandbox.image_files"
local images = require "sandbox.images"
local json = require "dgrun.core.json"
local tokens = require "sandbox.tokens"
local world_of = require "sandbox.world"
local path_of = require "dgrun.core.path"

local M = {}

local MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"
local FILE_LIMIT = 64 * 1024 * 1024

---Files of a tree, sorted, relative.
local function files_below(root, folder, found)
    for _, name in ipairs(check(fs.list(root / folder))) do
        local path = folder == "" and name or folder .. "/" .. name
        local stat = check(fs.stat(root / path))
        if name == ".git" or name == ".dgrun" then
            found.skipped = true
        elseif stat.type == "directory" then
            files_below(root, path, found)
        elseif stat.type == "file" then
            found[#found + 1] = path
        end
    end
    return found
end

---What the image is made of, so that the same content has the same digest.
local function content_digest(context, image, recipe)
    local lines = { recipe }
    for target, path in pairs(image.files) do
        local content = check(fs.read(context / path, { limit = FILE_LIMIT }))
        lines[#lines + 1] = digest.sha256(content) .. "  " .. target
    end
    for target, content in pairs(image.texts) do
        lines[#lines + 1] = digest.sha256(content) .. "  " .. target
    end
    table.sort(lines)
    return digest.sha256(table.concat(lines, "\n"))
end

---The folder of an image: its files below root/, and image.json.
local function write_image(context, dir, image, recipe, workdir)
    local part = dir .. ".part"
    fs.remove(part, { recursive = true })
    check(fs.mkdir(part / "root" .. workdir, { parents = true }))
    for target, path in pairs(image.files) do
        check(fs.mkdir(path_of.dirname(part / "root" .. target), { parents = true }))
        check(fs.copy(context / path, part / "root" .. target))
    end
    for target, content in pairs(image.texts) do
        check(fs.mkdir(path_of.dirname(part / "root" .. target), { parents = true }))
        check(fs.write(part / "root" .. target, content))
    end
    check(fs.write(part / "image.json", recipe))
    check(fs.rename(part, dir))
end

---Keeps folders below images/ from being pruned while `f` makes them.
local function keep_building(world, names, f)
    for _, name in ipairs(names) do
        world.building[name] = (world.building[name] or 0) + 1
    end
    local ok, e = pcall(f)
    for _, name in ipairs(names) do
        world.building[name] = world.building[name] > 1 and world.building[name] - 1 or nil
    end
    if not ok then
        error(e, 0)
    end
end

---The file that says what stays out of the image.
local function ignore_text(body, dockerfile)
    for _, path in ipairs { body.ignorefile or false, dockerfile .. ".dockerignore",
        body.dir / ".dockerignore" } do
        local text = path and fs.read(path, { limit = 1024 * 1024 })
        if text then
            return text
        end
    end
end

local function files_of_context(body, dockerfile)
    local is_ignored = dockerignore.parse(ignore_text(body, dockerfile))
    local files = {}
    for _, path in ipairs(files_below(body.dir, "", {})) do
        files[#files + 1] = not is_ignored(path) and path or nil
    end
    return files
end

---The folder of the Dockerfile within the context: "." for its top.
local function folder_in(context, dockerfile)
    local folder = path_of.dirname(dockerfile)
    return folder:sub(1, #context + 1) == context .. "/" and folder:sub(#context + 2) or "."
end

local function split(reference)
    local registry, repository, tag = reference:match("^([^/]+%.[^/]+)/([^:@]+):([^@]+)$")
    if not registry then
        answer.fail(422, ("%q is not registry/repository:tag"):format(reference))
    end
    return registry, repository, tag
end

---A program that does not run here: the machines of the image are simulated.
local function simulate(world, app, label, recipe)
    local reference = ("registry.fly.io/%s:%s"):format(app.name, label)
    world.images[reference] = {
        registry = "registry.fly.io", repository = app.name, tag = label,
        digest = "sha256:" .. digest.sha256(reference .. "\n" .. json.encode(recipe)),
        behaviour = { log = json.array { "the local Fly simulates this image: its program does not "
            .. "run" } },
    }
    world_of.save(world)
    return { image = reference, digest = world.images[reference].digest, not_run = 0 }, 201
end

---POST /sandbox/v1/builds {app, label, dir, dockerfile?, ignorefile?, target?, args?, simulate?,
---python?}: like a build and push of that folder, except that RUN is not executed: not_run says how
---many there are. dockerfile: its path, when it is not Dockerfile in the folder. simulate: the
---image's program does not run. python: a virtual environment instead of the project's .venv
function M.build(world, context, body)
    body = body or {}
    tokens.guard(context.principal, tostring(body.app))
    local app = apps.find(world, tostring(body.app))
    if type(body.label) ~= "string" or not body.label:match("^[%w_][%w_.-]*$") then
        answer.fail(422, "label must be a tag")
    elseif type(body.dir) ~= "string" or not fs.stat(body.dir) then
        answer.fail(422, "dir must be a folder")
    end
    local dockerfile = body.dockerfile or body.dir / "Dockerfile"
    if type(dockerfile) ~= "string" or not fs.stat(dockerfile) then
        answer.fail(422, "no Dockerfile in " .. body.dir)
    end
    for name, kind in pairs { args = "table", ignorefile = "string", target = "string",
        simulate = "boolean", python = "string" } do
        if body[name] ~= nil and type(body[name]) ~= kind then
            answer.fail(422, ("%s must be a %s"):format(name, kind))
        end
    end
    local recipe = dockerfile_of.parse(check(fs.read(dockerfile, { limit = FILE_LIMIT })),
        { args = body.args, target = body.target })
    if body.simulate then
        return simulate(world, app, body.label, recipe)
    end
    local venv = body.python and image_command.venv_of(body.python)
    if body.python and not venv then
        answer.fail(422, ("sandbox.python: %s is not a virtual environment, and not an interpreter")
            :format(body.python))
    end
    local files, missing = image_files.of(recipe, files_of_context(body, dockerfile))
    if not files then
        answer.fail(422, ("COPY: the build context has no %s, or .dockerignore leaves it out")
            :format(missing))
    end
    local text = json.encode { workdir = recipe.workdir, env = recipe.env, cmd = recipe.cmd,
        entrypoint = recipe.entrypoint, foreign = files.foreign,
        folder = folder_in(body.dir, dockerfile), venv = venv }
    local hash = content_digest(body.dir, files, text)
    local reference = ("registry.fly.io/%s:%s"):format(app.name, body.label)
    local name = hash:sub(1, 16)
    local dir = world.dir / "images" / name
    if world.persist and not fs.exists(dir) then
        keep_building(world, { name, name .. ".part" }, function()
            write_image(body.dir, dir, files, text, recipe.workdir)
        end)
    end
    local size = 0
    for _ in pairs(files.files) do
        size = size + 1
    end
    world.images[reference] = {
        registry = "registry.fly.io", repository = app.name, tag = body.label,
        digest = "sha256:" .. hash, dir = dir, size = size,
    }
    if world.persist then
        images.prune(world, app, reference)
    end
    world_of.save(world)
    return { image = reference, digest = "sha256:" .. hash, not_run = recipe.run }, 201
end

---POST /sandbox/v1/images {ref, digest?, behaviour?}: an image that was pushed by somebody else
function M.register(world, _, body)
    body = body or {}
    local registry, repository, tag = split(tostring(body.ref))
    local behaviour = behaviour_of.check(body.behaviour)
    if body.digest and not tostring(body.digest):match("^sha256:%x+$") then
        answer.fail(422, "digest must be sha256:…")
    end
    world.images[body.ref] = {
        registry = registry, repository = repository, tag = tag,
        digest = body.digest or "sha256:" .. digest.sha256(json.encode(body)),
        behaviour = behaviour,
    }
    world_of.save(world)
    return { image = body.ref, digest = world.images[body.ref].digest }, 201
end

---GET /v2/: this is a registry, and the token is good for it.
function M.version()
    return {}, 200, { ["Docker-Distribution-Api-Version"] = "registry/2.0" }
end

---The registry's own API: is the tag or the digest there, and what is its digest?
function M.manifest(world, context)
    local app, label = context.parameters.app, context.parameters.label
    tokens.guard(context.principal, app)
    local image = images.resolve(world, ("registry.fly.io/%s%s%s"):format(app,
        label:find(":", 1, true) and "@" or ":", label))
    if not image then
        answer.fail(404, "manifest unknown")
    end
    return { schemaVersion = 2, mediaType = MEDIA_TYPE }, 200,
        { ["Docker-Content-Digest"] = image.digest, ["Content-Type"] = MEDIA_TYPE }
end

return M
