-- The images that the sandbox has, by reference. registry.lua makes them.
local M = {}

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

return M
