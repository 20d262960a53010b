-- The image of the app's web machines, which its cron machines get.
local err = require "dgrun.core.err"
local image_of = require "dgrun.core.image_ref"
local machines = require "dgrun.fly.machines"

local M = {}

---The images that web machines run, and one machine of each.
local function web_images(app)
    local images, seen = {}, {}
    for _, machine in ipairs(machines.list(app)) do
        local metadata = machine.config and machine.config.metadata or {}
        if machines.is_managed(machine) and machines.group(machine) == "app"
            and metadata.fly_bluegreen_deployment_tag ~= "safe_to_destroy" then
            local image = image_of.of_machine(machine)
            if not seen[image] then
                images[#images + 1], seen[image] = image, machine
            end
        end
    end
    return images, seen
end

---@param app string
---@return string # by digest
function M.of(app)
    machines.app(app)
    local images, machine_of = web_images(app)
    if #images == 1 then
        return images[1]
    elseif #images == 0 then
        err.raise {
            code = "cron.no_web_machine", op = "cron.image", app = app,
            msg = ("%s has no web machine (process group app) to take the image from")
                :format(app),
            hint = "Deploy the app first.",
        }
    end
    local lines = {}
    for i, image in ipairs(images) do
        lines[i] = ("%s runs %s"):format(machine_of[image].id, image)
    end
    err.raise { code = "cron.several_images", op = "cron.image", app = app,
        msg = ("the web machines of %s run different images:\n%s"):format(app,
            table.concat(lines, "\n")),
        hint = "A deploy is in progress or did not finish; deploy again first." }
end

return M
