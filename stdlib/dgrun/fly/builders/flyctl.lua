-- flyctl with its remote builder: docs/fly/deploy.md, section 2. It prints the image's name and
-- size, and never its digest.
local api = require "dgrun.fly.api"
local command = require "dgrun.fly.builders.command"
local err = require "dgrun.core.err"

local M = {}

---@return string?
function M.program()
    return command.find "flyctl" or command.find "fly"
end

---The environment of flyctl: the token, and no prompts.
---@return table<string, string|userdata>
function M.environment()
    return { FLY_ACCESS_TOKEN = api.token(), FLY_API_TOKEN = false, NO_COLOR = "1",
        FLY_NO_UPDATE_CHECK = "1" }
end

local units = { B = 1, KB = 1e3, MB = 1e6, GB = 1e9, TB = 1e12 }

---"image size: 123 MB", in bytes.
local function size_of(lines)
    for i = #lines, 1, -1 do
        local number, unit = lines[i]:match("image size:%s*([%d.]+)%s*(%a+)")
        if number and units[unit:upper()] then
            return math.floor(tonumber(number) * units[unit:upper()])
        end
    end
end

local function image_of(lines)
    for i = #lines, 1, -1 do
        local image = lines[i]:match("^%s*image:%s*(%S+)%s*$")
        if image then
            return image
        end
    end
end

---@param opts dgrun.fly.build.options
---@param image dgrun.fly.image that is to be made
---@return {size?: integer}
function M.build(opts, image)
    if next(opts.secrets or {}) then
        err.raise { code = "fly.build_secrets", op = "fly.build",
            msg = "flyctl takes build secrets only on its command line, where other users can "
                .. "read them",
            hint = 'Build with builder = "docker" or "buildah".' }
    end
    local argv = { M.program(), "deploy", "--build-only", "--push", "--image-label", image.tag,
        "-a", opts.app }
    command.add(argv, "-c", opts.config)
    command.add(argv, "--dockerfile", opts.dockerfile)
    command.add(argv, "--ignorefile", opts.ignorefile)
    command.add(argv, "--build-target", opts.target)
    command.add_pairs(argv, "--build-arg", opts.args)
    command.add_pairs(argv, "--label", opts.labels)
    local lines = command.run { builder = "flyctl", argv = argv, env = M.environment(),
        cwd = opts.dir }
    local made = image_of(lines)
    local expected = ("%s/%s:%s"):format(image.registry, image.repository, image.tag)
    if made and made ~= expected then
        err.raise { code = "fly.build_failed", op = "fly.build", builder = "flyctl",
            msg = ("flyctl built %s instead of %s"):format(made, expected) }
    end
    return { size = size_of(lines) }
end

return M
