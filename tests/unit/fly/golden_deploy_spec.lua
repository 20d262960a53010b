-- What flyctl's deploy would do to the machines of an app, for 97 states: its answers are in
-- tests/fixtures/fly/deploy-cases.jsonl. dgrun asks Fly for the same.
local apply = require "dgrun.fly.apply"
local config_of = require "dgrun.fly.config"
local deploy_commands = require "dgrun.fly.deploy_commands"
local diff = require "dgrun.fly.diff"
local golden = require "support.golden"
local json = require "dgrun.core.json"
local machines = require "dgrun.fly.machines"
local one_off = require "dgrun.fly.one_off"
local tables = require "dgrun.core.table"
local volumes = require "dgrun.fly.volumes"

local IMAGE = "registry.fly.io/my-cool-app:new"

---Deliberate differences, and why.
local differences = {
    ["mount-othername"] = "a volume is not renamed in place: dgrun refuses",
    ["mount-removed"] = "a volume is not taken away in place: dgrun refuses",
    ["mount-added"] = "a volume is not added in place: dgrun refuses",
    ["group-one-left-first"] = "an interrupted first deploy is completed by its second machine",
}

local function free_volumes(case)
    local list = {}
    for _, name in ipairs(tables.keys(case.volumes)) do
        for _, volume in ipairs(case.volumes[name]) do
            list[#list + 1] = volume
        end
    end
    return list
end

---@return table what dgrun would do, in the form of `expected`
local function decide(case)
    local config = config_of.of_text(case.toml, { path = "fly.toml", dir = golden.dir / "files",
        kind = "toml" })
    local all = tables.copy(case.machines)
    for _, machine in ipairs(all) do
        machines.plain(machine)
    end
    local deploy = { app = "my-cool-app", config = config, image = IMAGE, all = all,
        release = { id = "R", version = 2 }, volumes = volumes.pool_of(free_volumes(case)) }
    local done = { create = {}, update = {}, destroy = {} }
    local changes = diff.find(config, { image = IMAGE, ha = true, metadata = {},
        first = function() return case.first end }, all)
    for i, change in ipairs(changes.create) do
        local request = apply.request(deploy, change, "FIRST")
        request.group = change.group
        done.create[i] = request
    end
    table.sort(changes.update, function(a, b) return a.machine.id < b.machine.id end)
    for i, change in ipairs(changes.update) do
        local ok, e = pcall(apply.check_move, change)
        local request = ok and apply.request(deploy, change) or { error = tostring(e.msg) }
        request.id, request.replace = change.machine.id, change.moves or false
        done.update[i] = request
    end
    for i, change in ipairs(changes.destroy) do
        done.destroy[i] = change.machine.id
    end
    assert(#changes.unchanged == 0, "a machine with the old image is unchanged")
    if config.deploy.release_command then
        done.release = { config = one_off.machine(deploy_commands.release_machine(deploy)),
            region = config.primary_region, skip_launch = true }
    end
    return done
end

---A refusal as text: both refuse, each in its own words.
local function comparable(done)
    if done.error then
        return { error = true }
    end
    done = tables.copy(done)
    for _, update in ipairs(done.update or {}) do
        if update.error then
            update.error, update.config, update.replace, update.region = true, nil, nil, nil
        end
        update.min_secrets_version = nil
    end
    return golden.normal(done)
end

describe("flyctl's golden deploys", function()
    it("are dgrun's deploys too", function()
        local failures, list = {}, golden.cases "deploy-cases.jsonl"
        for _, case in ipairs(list) do
            local ok, done = pcall(decide, case)
            assert(ok or type(done) == "table", case.name .. ": " .. tostring(done))
            local theirs = json.encode(comparable(case.expected))
            local ours = json.encode(comparable(ok and done or { error = done.msg }))
            local agrees = theirs == ours
                -- flyctl refuses one machine, dgrun the whole deploy before anything is changed.
                or (not ok and (case.expected.update[1] or {}).error ~= nil)
            if agrees == (differences[case.name] ~= nil) then
                failures[#failures + 1] = agrees and case.name .. ": agrees: take it off the list"
                    or ("%s: %s\n    flyctl %s\n    dgrun  %s"):format(case.name,
                        ok and "" or tostring(done.msg), theirs, ours)
            end
        end
        assert(#failures == 0, ("%d of %d cases:\n%s"):format(#failures, #list,
            table.concat(failures, "\n")))
    end)
end)
