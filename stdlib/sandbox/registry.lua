-- Requests that make images: those built here from a folder, and those registered with a behaviour.
local answer = require "sandbox.answer"
local apps = require "sandbox.apps"
local behaviour_of = require "sandbox.behaviour"
local digest = require "host.digest"
local fs = require "host.fs"
local check = require "dgrun.core.check"
local images = require "sandbox.images"
local json = require "dgrun.core.json"
local world_of = require "sandbox.world"
local path_of = require "dgrun.core.path"

local M = {}

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

local function content_digest(root, files)
    local lines = {}
    for i, path in ipairs(files) do
        local content = check(fs.read(root / path, { limit = FILE_LIMIT }))
        lines[i] = digest.sha256(content) .. "  " .. path
    end
    return digest.sha256(table.concat(lines, "\n"))
end

local function copy_tree(from, to, files)
    for _, path in ipairs(files) do
        local target = to / path
        check(fs.mkdir(path_of.dirname(target), { parents = true }))
        check(fs.copy(from / path, target))
    end
end

local function split(reference)
    local registry, repository, tag = reference:match("^([^/]+%.[^/]+)/([^:@]+):([^@]+)$")
    if not registry then
        answer.fail(422, ("%q is not registry/repository:tag"):format(reference))
    end
    return registry, repository, tag
end

---POST /sandbox/v1/builds {app, label, dir, dockerfile?}: like a build and push of that folder;
---dockerfile: its path, when it is not Dockerfile in the folder
function M.build(world, _, body)
    body = body or {}
    local app = apps.find(world, tostring(body.app))
    if type(body.label) ~= "string" or not body.label:match("^[%w_][%w_.-]*$") then
        answer.fail(422, "label must be a tag")
    elseif type(body.dir) ~= "string" or not fs.stat(body.dir) then
        answer.fail(422, "dir must be a folder")
    end
    local dockerfile = body.dockerfile or body.dir / "Dockerfile"
    if type(dockerfile) ~= "string" or not fs.stat(dockerfile) then
        answer.fail(422, "there is no Dockerfile in " .. body.dir)
    end
    local files = files_below(body.dir, "", {})
    local hash = content_digest(body.dir, files)
    if body.dockerfile then
        hash = digest.sha256(hash .. check(fs.read(dockerfile, { limit = FILE_LIMIT })))
    end
    local reference = ("registry.fly.io/%s:%s"):format(app.name, body.label)
    local dir = world.dir / "images" / hash:sub(1, 16)
    if world.persist and not fs.exists(dir) then
        local part = dir .. ".part"
        fs.remove(part, { recursive = true })
        copy_tree(body.dir, part, files)
        check(fs.copy(dockerfile, part / "Dockerfile"))
        check(fs.rename(part, dir))
    end
    world.images[reference] = {
        registry = "registry.fly.io", repository = app.name, tag = body.label,
        digest = "sha256:" .. hash, dir = dir, size = #files,
    }
    world_of.save(world)
    return { image = reference, digest = "sha256:" .. hash }, 201
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

---The registry's own API: is the tag there, and with which digest?
function M.manifest(world, context)
    local image = images.resolve(world, ("registry.fly.io/%s:%s"):format(
        context.parameters.app, context.parameters.label))
    if not image then
        answer.fail(404, "manifest unknown")
    end
    return { schemaVersion = 2 }, 200, { ["Docker-Content-Digest"] = image.digest }
end

return M
