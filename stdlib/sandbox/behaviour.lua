-- How a simulated machine behaves: as its image was registered to, or as was said of this machine.
local answer = require "sandbox.answer"
local chatter = require "sandbox.chatter"
local images = require "sandbox.images"
local json = require "dgrun.core.json"
local world_of = require "sandbox.world"

local M = {}

---exit_code, oom, seconds: how a command ends, and after how long. log: lines it writes when it
---begins, log_at_end: when it ends by itself. chatter: {per_second, lines, text}, lines it goes on
---writing, as chatter.lua says. crash: a server ends with code 1 at once. boot: "fail". health:
---"critical", or "never" for no checks at all. fail_after, sick_after: so many machines of the
---image boot, or get healthy, those after them do not. healthy_after: seconds of the first checks
---that fail. grace: the first result comes after the check's grace_period. stop_seconds: what it
---needs to stop. body: what the site shows. listen: address, or a list of them. exec: {exit_code,
---exit_signal, stdout, stderr, seconds}, also below `commands` by the joined command. commands: by
---the joined words of what the machine's configuration runs, what is different with that command.
local fields = {
    exit_code = "number", seconds = "number", log = "table", log_at_end = "table",
    crash = "boolean", health = "string", boot = "string", oom = "boolean", body = "string",
    fail_after = "number", sick_after = "number", healthy_after = "number", grace = "boolean",
    stop_seconds = "number", listen = "any", exec = "table", commands = "table", chatter = "table",
}

---@param given table? of a request
---@return table # the same, or {}
function M.check(given)
    if given == nil or given == json.null then
        return {}
    elseif type(given) ~= "table" then
        answer.fail(422, "behaviour must be an object")
    end
    for name, value in pairs(given) do
        if fields[name] ~= "any" and type(value) ~= fields[name] then
            answer.fail(422, ("behaviour: unknown field %q, or a value of the wrong type"):format(
                tostring(name)))
        end
    end
    for _, name in ipairs { "log", "log_at_end" } do
        for _, line in ipairs(given[name] or {}) do
            if type(line) ~= "string" then
                answer.fail(422, ("behaviour: %s must be a list of texts"):format(name))
            end
        end
    end
    if given.chatter then
        chatter.check(given.chatter)
    end
    for command, special in pairs(given.commands or {}) do
        if type(command) ~= "string" or type(special) ~= "table" or special.commands then
            answer.fail(422, "behaviour: commands must be an object of behaviours by command")
        end
        M.check(special)
    end
    return given
end

---The words that the configuration of a machine runs, joined.
local function command_of(config)
    local init = type(config.init) == "table" and config.init or {}
    local words = {}
    local head = init.exec or init.entrypoint or {}
    for _, list in ipairs { head, not init.exec and init.cmd or {} } do
        for _, word in ipairs(list) do
            words[#words + 1] = word
        end
    end
    return table.concat(words, " ")
end

---The image of a machine, as it is known now.
function M.image(world, machine)
    local ref = machine.image_ref
    return images.resolve(world, ("%s/%s:%s"):format(ref.registry, ref.repository, ref.tag))
end

---Counts the machines of an image: the first that gets it is number 1.
function M.count(world, machine, image)
    if machine.image_ref and machine.image_ref.digest == image.digest then
        return
    end
    image.machines = (image.machines or 0) + 1
    machine.number = image.machines
    world_of.save(world)
end

---@return table # as described above
function M.of(world, machine)
    local image = M.image(world, machine)
    local all = {}
    for name, value in pairs(image and image.behaviour or {}) do
        all[name] = value
    end
    local number = machine.number or 0
    if all.fail_after and number > all.fail_after then
        all.boot = "fail"
    end
    if all.sick_after and number > all.sick_after then
        all.health = "critical"
    end
    for name, value in pairs(machine.behaviour or {}) do
        all[name] = value
    end
    for name, value in pairs((all.commands or {})[command_of(machine.config)] or {}) do
        all[name] = value
    end
    return all
end

---POST /sandbox/v1/apps/{app}/machines/{id}/behaviour: from its next start on
function M.set(world, context, body)
    context.machine.behaviour = M.check(body)
    world_of.save(world)
    return { ok = true }
end

return M
