-- From a folder to an image in the registry. The local Fly builds by itself; for the real one an
-- image is given.
local api = require "dgrun.fly.api"
local check = require "dgrun.check"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local image_of = require "dgrun.fly.image"

local M = {}

---The digest of a tag in Fly's registry; nil when the tag is not there.
---@param app string
---@param label string
---@return string?
function M.digest(app, label)
    local token = require("host.digest").base64("x:" .. api.token())
    local answer = check(require("host.http").request {
        url = ("%s/v2/%s/manifests/%s"):format(api.registry_url(), app, label), method = "HEAD",
        headers = {
            Authorization = "Basic " .. token,
            Accept = "application/vnd.oci.image.index.v1+json, "
                .. "application/vnd.oci.image.manifest.v1+json, "
                .. "application/vnd.docker.distribution.manifest.list.v2+json, "
                .. "application/vnd.docker.distribution.manifest.v2+json",
        },
    })
    if answer.status == 200 then
        return answer.headers["docker-content-digest"]
    elseif answer.status == 404 then
        return nil
    end
    err.raise { code = answer.status == 401 and "fly.unauthorized" or "fly.registry",
        op = "fly.registry", status = answer.status,
        msg = ("the registry answered %d for %s:%s"):format(answer.status, app, label) }
end

---The image a reference names, with its digest where Fly's registry knows it.
---@param reference string
---@return string
function M.resolve(reference)
    local image = image_of.parse(reference)
    if image.digest or image.registry ~= "registry.fly.io" then
        return reference
    end
    image.digest = M.digest(image.repository, image.tag or "latest")
    if not image.digest then
        err.raise { code = "fly.no_image", op = "fly.image", image = reference,
            msg = ("the registry has no image %s"):format(reference),
            hint = "Build and push it first: fly deploy --build-only --push --image-label LABEL." }
    end
    return image_of.format(image)
end

---@class dgrun.fly.build.options
---@field app string
---@field dir string the folder with the Dockerfile
---@field label? string the tag; dgrun-COMMIT when `commit` is given
---@field commit? string

---Builds an image, unless the registry has it under this label.
---@param opts dgrun.fly.build.options
---@return {image: string, digest?: string} # by digest; in a plan the digest is not known yet
function M.build(opts)
    check.options(opts, { app = "string", dir = "string", label = "string?", commit = "string?" },
        "fly.build")
    local label = opts.label or (opts.commit and "dgrun-" .. opts.commit:sub(1, 12))
    if not label then
        err.raise { code = "input.missing_option", op = "fly.build",
            msg = "fly.build needs the option 'label' or 'commit'" }
    end
    local image = { registry = "registry.fly.io", repository = opts.app, tag = label }
    if not api.is_sandbox() then
        err.raise { code = "fly.no_builder", op = "fly.build",
            msg = "dgrun does not build images for the real Fly yet",
            hint = ("Build it with `fly deploy --build-only --push --image-label %s -a %s`, then "
                .. "give --image registry.fly.io/%s:%s."):format(label, opts.app, opts.app, label) }
    end
    image.digest = M.digest(opts.app, label)
    if image.digest then
        effect.note(("image %s is there already"):format(label))
        return { image = image_of.format(image), digest = image.digest }
    end
    local built = effect.write {
        kind = "fly.image.build", target = image_of.format(image), after = { label = label },
        summary = ("build image %s of %s"):format(label, opts.app), name = "image",
        apply = function()
            return api.machines("POST", "/sandbox/v1/builds",
                { json = { app = opts.app, label = label, dir = opts.dir }, timeout = 300 })
        end,
    }
    if not effect.planning() then
        image.digest = built.digest
    end
    return { image = image_of.format(image), digest = image.digest }
end

return M
