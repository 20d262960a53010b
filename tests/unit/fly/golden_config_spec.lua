-- What flyctl makes of a configuration, for 1,139 texts: tests/fixtures/fly/config-cases.jsonl has
-- its answers. dgrun never accepts what flyctl refuses; where both accept, both send the same.
local config_of = require "dgrun.fly.config"
local deploy_commands = require "dgrun.fly.deploy_commands"
local golden = require "support.golden"
local json = require "dgrun.core.json"
local machine_config = require "dgrun.fly.machine_config"
local one_off = require "dgrun.fly.one_off"
local units = require "dgrun.fly.units"

---Deliberate differences: what dgrun says when it refuses what flyctl accepts, and why it does.
local refusals = {
    { "must be %d+ to %d+ MB, in steps", "Fly refuses this memory for these CPUs" },
    { "cpu_kind '.-' is not shared or performance", "Fly has no such kind of CPU" },
    { "GPUs are no longer offered", "flyctl refuses GPUs when it deploys" },
    { "guest_path must be an absolute path", "a file without a place in the machine" },
    { "statics: more than 10 entries", "Fly's limit" },
    { "'sctp' is not one of tcp, udp", "Fly forwards TCP and UDP" },
    { "'sessions' is not one of connections, requests", "Fly counts connections or requests" },
    { ": [-%d%a.]+ is negative", "a time before now has no meaning" },
    { ": true is not a duration", "flyctl ignores it, though it says something" },
    { ": must be a whole number, not %d+%.%d", "flyctl cuts the fraction of a port off" },
    { "env%.%w+: must be a string, not a table", "flyctl sends Go's text of a table: map[A:1]" },
    { "headers%.%w+: must be a string, not a table", "flyctl sends Go's text of a list: [x y]" },
    { "max_unavailable: must be more than 0", "a deploy that may touch no machine never ends" },
    { "mounts%[%d%]: needs source and destination", "Fly refuses a volume without name or place" },
    { "is a merge key", "YAML is 1.2 core" },
    { "a second document begins here", "YAML is 1.2 core; flyctl reads the first document" },
    { "release_command_vm: unknown size", "flyctl refuses it later, when it makes the machine" },
}

---Cases in which both accept and do not send the same, and why.
local differences = {
    ["env-yaml"] = "YAML is 1.2 core: 0123 is 123, and a date is text",
    ["yaml-oct"] = "YAML is 1.2 core: 017 is 17, and 1_000 is text",
}

local function text_of(machine)
    return json.encode(golden.normal(machine))
end

local existing = json.decode(golden.read "existing.json")

---@return table<string, {[1]: string, [2]: string}> what each side sends, by what it is
local function sent(case, config)
    local pairs_of = {}
    for _, group in ipairs(case.groups) do
        local function machine(old)
            local made = config_of.machine(config, group, old)
            if made.containers then
                local image = made.image
                machine_config.set_image(config, made, ".")
                made.image = image
            end
            return made
        end
        pairs_of["machine of " .. group] = { case.machine[group], machine() }
        pairs_of["update of " .. group] = { case.update[group], machine(existing) }
    end
    if case.release_command then
        pairs_of["release command"] = { case.release_command,
            one_off.machine(deploy_commands.release_config(config)) }
    end
    return pairs_of
end

---Paths of the unknown keys that dgrun warns about.
local function unknown_keys(config)
    local found = {}
    for _, warning in ipairs(config.warnings) do
        local key, text = warning:match "^fly%.%a+:?%d*: (%S+): (.*)$"
        if key and (text:find "^unknown key" or text:find "^is read as"
                or text:find "^is ignored in this" or text:find "is an old form") then
            found[key] = true
        end
    end
    return found
end

---What is wrong with a case; nil when it is as the rule wants.
local function disagreement(case, config)
    if not case.accepted then
        return "flyctl refuses: " .. case.why
    end
    local groups = config_of.groups(config)
    table.sort(case.groups)
    if table.concat(groups, " ") ~= table.concat(case.groups, " ") then
        return "groups " .. table.concat(groups, " ")
    end
    for what, both in pairs(sent(case, config)) do
        local theirs, ours = text_of(both[1]), text_of(both[2])
        if theirs ~= ours then
            return ("%s\n      flyctl %s\n      dgrun  %s"):format(what, theirs, ours)
        end
    end
    local warned = unknown_keys(config)
    for _, key in ipairs(case.unknown_keys or {}) do
        if not warned[key] then
            return "no warning about " .. key
        end
        warned[key] = nil
    end
    for key in pairs(warned) do
        -- flyctl does not look into these.
        if not key:find "^services%[" and not key:find "^vm%[" then
            return "flyctl knows " .. key
        end
    end
end

describe("flyctl's golden configurations", function()
    local list = golden.cases "config-cases.jsonl"
    local failures, used = {}, {}

    local function fail(case, text)
        failures[#failures + 1] = ("%s: %s\n%s"):format(case.name, text, case.text)
    end

    ---The reason for which dgrun may refuse a case.
    local function reason_of(message)
        for i, refusal in ipairs(refusals) do
            if message:find(refusal[1]) then
                used[i] = true
                return refusal[2]
            end
        end
    end

    it("are sent as flyctl sends them, or refused", function()
        for _, case in ipairs(list) do
            used[case.name] = true
            local ok, config = pcall(config_of.of_text, case.text, { path = case.file,
                dir = golden.dir / "files", kind = case.file:match "%.(%a+)$" })
            local text = ok and disagreement(case, config)
            if not ok and type(config) ~= "table" then
                fail(case, "crashes: " .. tostring(config))
            elseif not ok and case.accepted and not reason_of(tostring(config.msg)) then
                fail(case, "dgrun refuses: " .. tostring(config.msg))
            elseif text and not differences[case.name] then
                fail(case, text)
            elseif not text and differences[case.name] then
                fail(case, "agrees: take it off the list of differences")
            end
        end
        for name in pairs(differences) do
            assert(used[name], name)
        end
        for i, refusal in ipairs(refusals) do
            if not used[i] then
                failures[#failures + 1] = "no case is refused any longer by: " .. refusal[1]
            end
        end
        assert(#failures == 0, ("%d of %d cases:\n%s"):format(#failures, #list,
            table.concat(failures, "\n")))
    end)

    it("have sizes of memory as flyctl reads them", function()
        for _, case in ipairs(list) do
            local value = case.name:find "^v?mem%-" and case.text:match "\nmemory ?= ?([^\n]+)"
            local size = value and units.memory(tonumber(value) or (value:gsub('"', "")))
            local guest = value and case.accepted and case.machine.app.guest
            if value == '""' then
                size = guest.memory_mb
            end
            assert(not value or (guest and guest.memory_mb == size)
                or (not guest and (size == nil or size == 0)), case.name)
        end
    end)
end)
