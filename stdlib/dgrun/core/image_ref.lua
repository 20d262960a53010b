-- Image references: registry/repository:tag@digest, as OCI writes them.
local err = require "dgrun.core.err"

local M = {}

local DIGEST_SHOWN = 19

---@class dgrun.fly.image
---@field registry string
---@field repository string
---@field tag? string
---@field digest? string "sha256:…"

---Is a registry on this computer? Only then may it be spoken to without TLS.
---@param registry string "127.0.0.1:5000"
---@return boolean
function M.is_loopback(registry)
    return registry:find("^localhost:%d+$") ~= nil or registry:find("^127%.[%d.]+:%d+$") ~= nil
        or registry:find("^%[::1%]:%d+$") ~= nil
end

---The address of a registry.
---@param registry string
---@return string
function M.url(registry)
    return (M.is_loopback(registry) and "http://" or "https://") .. registry
end

---@param reference string
---@return dgrun.fly.image
function M.parse(reference)
    local rest, digest = reference, nil
    local before, found = reference:match("^(.-)@(.*)$")
    if before then
        rest, digest = before, found
    end
    local name, tag = rest:match("^(.+):([%w_][%w_.-]*)$")
    if not name or tag:find("/", 1, true) then
        name, tag = rest, nil
    end
    local registry, repository = name:match("^([^/]*[.:][^/]*)/(.+)$")
    if not registry and name:match("^localhost/") then
        registry, repository = name:match("^(localhost)/(.+)$")
    end
    registry, repository = registry or "docker.io", repository or name
    if not repository:match("^[a-z0-9][a-z0-9._/-]*$")
        or (digest and not digest:match("^sha256:%x+$")) then
        err.raise {
            code = "fly.invalid_image", op = "fly.image",
            msg = ("%q is not an image reference"):format(reference),
            hint = "A reference looks like registry.fly.io/APP:LABEL or REPOSITORY@sha256:….",
        }
    end
    return { registry = registry, repository = repository, tag = tag, digest = digest }
end

---@param image dgrun.fly.image
---@return string
function M.format(image)
    return ("%s/%s%s%s"):format(image.registry, image.repository,
        image.tag and ":" .. image.tag or "", image.digest and "@" .. image.digest or "")
end

---An image as short as it still says which.
---@param reference string
---@return string
function M.abbreviated(reference)
    local ok, image = pcall(M.parse, tostring(reference))
    if not ok then
        return tostring(reference)
    end
    local name = image.repository .. (image.tag and ":" .. image.tag or "")
    return image.digest and name .. "@" .. image.digest:sub(1, DIGEST_SHOWN) or name
end

local function parsed(image)
    return type(image) == "table" and image or M.parse(image)
end

---Do two references mean the same image? By digest where both have one, else by name and tag.
---@param a string|dgrun.fly.image
---@param b string|dgrun.fly.image
---@return boolean
function M.same(a, b)
    a, b = parsed(a), parsed(b)
    if a.digest and b.digest then
        return a.digest == b.digest
    end
    return a.registry == b.registry and a.repository == b.repository
        and (a.tag or "latest") == (b.tag or "latest")
end

---The reference of what a machine runs, by digest.
---@param machine table
---@return string
function M.of_machine(machine)
    local ref = machine.image_ref
    if not ref or not ref.repository then
        -- On a host that does not answer, only what was asked for is known.
        return machine.config and machine.config.image or "unknown"
    end
    return M.format { registry = ref.registry, repository = ref.repository, tag = ref.tag,
        digest = ref.digest }
end

---Without the digest, as fly deploy writes it into a machine.
---@param reference string
---@return string
function M.tagged(reference)
    local image = M.parse(reference)
    return image.tag and M.format { registry = image.registry, repository = image.repository,
        tag = image.tag } or reference
end

---For a table: its tag, else the beginning of its digest; another text as it is.
---@param reference string
---@return string
function M.short(reference)
    local ok, image = pcall(M.parse, reference)
    return ok and (image.tag or image.digest and image.digest:sub(1, 19)) or reference
end

return M
