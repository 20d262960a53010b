-- An image registry's own API: what a tag stands for. OCI distribution specification.
local api = require "dgrun.fly.api"
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local json = require "dgrun.core.json"
local retry = require "dgrun.fly.retry"

local M = {}

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

local function ask(method, image)
    local reference = image.tag or image.digest or "latest"
    local what = ("%s %s/%s:%s"):format(method, image.registry, image.repository, reference)
    local token = require("host.digest").base64("x:" .. api.token())
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

local function refused(answer, what)
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
function M.digest(image)
    local answer, what = ask("HEAD", image)
    if answer.status == 200 then
        return answer.headers["docker-content-digest"]
    elseif answer.status == 404 then
        return nil
    end
    refused(answer, what)
end

---The bytes of an image as it is stored, compressed; nil where the manifest does not tell.
---@param image dgrun.fly.image
---@return integer?
function M.size(image)
    local answer, what = ask("GET", image)
    if answer.status ~= 200 then
        refused(answer, what)
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

return M
