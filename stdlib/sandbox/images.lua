-- The images that the sandbox has, by reference. registry.lua makes them.
local fs = require "host.fs"
local path_of = require "dgrun.core.path"

local M = {}

local RELEASES_KEPT = 3

---The image a reference means here, or nil.
function M.resolve(world, reference)
    local plain, wanted = reference:match("^([^@]+)@(sha256:%x+)$")
    local image = world.images[reference] or world.images[plain]
    if image and wanted and image.digest ~= wanted then
        return nil
    end
    if image or not wanted then
        return image
    end
    for _, one in pairs(world.images) do
        if one.digest == wanted then
            return one
        end
    end
end

---The `image_ref` of a machine.
function M.reference(image)
    return {
        registry = image.registry, repository = image.repository, tag = image.tag,
        digest = image.digest,
    }
end

---The images that machines of any app and the last releases of this one need, by digest.
local function needed(world, app)
    local digests, count = {}, 0
    for _, other in pairs(world.apps) do
        for _, machine in pairs(other.machines) do
            if machine.state ~= "destroyed" and machine.image_ref then
                digests[machine.image_ref.digest] = true
            end
        end
    end
    local has_complete = false
    for i = #app.releases, 1, -1 do
        local release = app.releases[i]
        local image = M.resolve(world, release.image_ref)
        local is_current = release.status == "complete" and not has_complete
        has_complete = has_complete or is_current
        if image and (is_current or count < RELEASES_KEPT) then
            digests[image.digest] = true
        end
        count = count + 1
    end
    return digests
end

---Removes what was built for an app and is no longer needed by a machine, by one of its last three
---releases, or by its current release. An image that was only registered has no files and stays.
---@param world sandbox.world
---@param app table
---@param fresh string reference of the image that is about to be released
function M.prune(world, app, fresh)
    local digests, folders = needed(world, app), {}
    for reference, image in pairs(world.images) do
        if image.dir and image.repository == app.name and reference ~= fresh
            and not digests[image.digest] then
            world.images[reference] = nil
        elseif image.dir then
            folders[path_of.basename(image.dir)] = true
        end
    end
    for _, name in ipairs(fs.list(world.dir / "images") or {}) do
        if not folders[name] and not world.building[name] then
            fs.remove(world.dir / "images" / name, { recursive = true })
        end
    end
end

return M
