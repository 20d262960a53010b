-- What is wrong with a cron machine, in words: how it differs from its declaration, a schedule that
-- is paused, a job run that is overdue or ended badly.
local changes_of = require "dgrun.fly.diff"
local format = require "dgrun.core.format"
local image_of = require "dgrun.core.image_ref"
local secrets_state = require "dgrun.fly.secrets"
local tables = require "dgrun.core.table"
local ticks_of = require "dgrun.cron.job_runs"
local unknown = require "dgrun.core.unknown"

local M = {}

---@class dgrun.cron.difference
---@field field string "image", "command", "region", …
---@field text string for people: "its command is …"

local function words(list)
    return type(list) == "table" and #list > 0 and ("`%s`"):format(table.concat(list, " "))
        or "the image's default"
end

local function size(guest)
    if type(guest) ~= "table" then
        return "the default"
    end
    return ("%s-cpu-%sx, %s MB"):format(tostring(guest.cpu_kind), tostring(guest.cpus),
        tostring(guest.memory_mb))
end

local function policy(restart)
    return type(restart) == "table" and restart.policy and restart.policy
        .. (restart.max_retries and (" (%d)"):format(restart.max_retries) or "") or "the default"
end

---Names of entries that one has and the other has not, or has otherwise.
local function names_of_different(a, b)
    local names = {}
    for _, pair in ipairs { { a, b }, { b, a } } do
        for name, value in pairs(pair[1]) do
            if pair[2][name] ~= value then
                names[name] = true
            end
        end
    end
    return table.concat(tables.keys(names), ", ")
end

local parts_of_init = {
    { "command", "cmd" }, { "entrypoint", "entrypoint" }, { "exec", "exec" },
}

local function same_words(a, b)
    return words(a) == words(b)
end

---What a machine runs, its entrypoint and its command in one: flyctl splits them otherwise.
local function command_line(of)
    local line = {}
    for _, key in ipairs { "entrypoint", "cmd" } do
        for _, word in ipairs(type(of) == "table" and type(of[key]) == "table" and of[key] or {}) do
            line[#line + 1] = word
        end
    end
    return table.concat(line, " ")
end

---The declaration, its command split as the machine's is where both run the same.
local function split_alike(actual, wanted)
    local now, new = actual.init, wanted.init
    if type(now) ~= "table" or type(new) ~= "table" or command_line(now) ~= command_line(new) then
        return wanted
    end
    local copy = tables.copy(wanted)
    copy.init.entrypoint, copy.init.cmd = now.entrypoint, now.cmd
    return copy
end

local function init(add, actual, wanted)
    local now, new = type(actual.init) == "table" and actual.init or {}, wanted.init or {}
    local named
    for _, part in ipairs(parts_of_init) do
        local title, key = unpack(part)
        if not same_words(now[key], new[key]) then
            named = true
            add(title, ("its %s is %s, but %s is declared"):format(title, words(now[key]),
                words(new[key])))
        end
    end
    if not named then
        add("init", "its swap or console differs from the declaration")
    end
end

local tellers = {
    image = function(add, _, wanted, machine)
        add("image", ("it runs %s, not %s"):format(
            image_of.abbreviated(image_of.of_machine(machine)),
            image_of.abbreviated(wanted.image)))
    end,
    init = init,
    env = function(add, actual, wanted)
        -- Not the values: somebody may have put a secret there.
        add("env", ("its environment variables differ: %s"):format(
            names_of_different(actual.env or {}, wanted.env or {})))
    end,
    guest = function(add, actual, wanted)
        add("size", ("its size is %s, but %s is declared"):format(size(actual.guest),
            size(wanted.guest)))
    end,
    schedule = function(add, actual, wanted)
        add("schedule", ("its schedule is %s, but %s is declared"):format(
            tostring(actual.schedule or "none"), tostring(wanted.schedule)))
    end,
    restart = function(add, actual, wanted)
        add("restart", ("its restart policy is %s, but %s is "
            .. "declared"):format(policy(actual.restart),
            policy(wanted.restart)))
    end,
}

---What differs; nothing where it is as declared.
---@param machine table as the API shows it
---@param wanted table configuration of declaration.wanted
---@param region? string
---@param secrets dgrun.fly.secrets_state
---@return dgrun.cron.difference[]
function M.between(machine, wanted, region, secrets)
    local found = {}
    local function add(field, text)
        found[#found + 1] = { field = field, text = text }
    end
    local actual = machine.config or {}
    local metadata = actual.metadata or {}
    wanted = split_alike(actual, wanted)
    if unknown.is(wanted.image) then
        add("image", "its image changes")
        wanted = tables.copy(wanted)
        wanted.image = image_of.of_machine(machine)
    end
    for _, name in ipairs(changes_of.differing(machine, wanted)) do
        if tellers[name] then
            tellers[name](add, actual, wanted, machine)
        elseif name ~= "metadata" then
            add(name, ("its %s differs from the declaration"):format(name))
        end
    end
    if region and machine.region ~= region then
        add("region", ("it is in %s, but %s is declared"):format(machine.region, region))
    end
    if actual.auto_destroy == true then
        add("auto_destroy", "it will be destroyed after its next job (auto_destroy)")
    end
    if not secrets_state.is_current(secrets, machine) then
        add("secrets", "it does not have the app's current secrets")
    end
    if metadata.dgrun_cron ~= wanted.metadata.dgrun_cron then
        add("mark", "dgrun did not create it (its metadata has no dgrun_cron)")
    end
    if machine.host_status ~= nil and machine.host_status ~= "ok" then
        add("host", ("its host is %s"):format(tostring(machine.host_status)))
    end
    return found
end

---@param differences dgrun.cron.difference[]
---@param field string
---@return boolean
function M.has(differences, field)
    for _, one in ipairs(differences) do
        if one.field == field then
            return true
        end
    end
    return false
end

---@class dgrun.cron.problem
---@field kind "drift"|"stopped"|"overdue"|"exit"|"duplicate"|"missing"
---@field field? string of drift
---@field text string

local function exit_text(exit, now)
    local text = ("its last job run, %s, ended with exit code %s"):format(
        format.ago(now - exit.timestamp / 1000), tostring(exit.exit_code))
    if exit.oom_killed then
        text = text .. ", out of memory"
    end
    return exit.restarting and ("%s (restart %d follows)"):format(text, exit.restart_count + 1)
        or text
end

local function of_ticks(add, machine, ticks, now)
    if machine.state == "failed" then
        add("stopped", "it failed to start, so its schedule is paused")
    elseif not ticks.armed and not ticks.running then
        add("stopped", ("it has not been started since its last update%s, so its schedule is "
            .. "paused")
            :format(ticks.changed and ", " .. format.ago(now - ticks.changed) or ""))
    elseif ticks.overdue then
        add("overdue", ("its last job run was %s, but its schedule is %s"):format(
            ticks.last and format.ago(now - ticks.last) or "never seen", machine.config.schedule))
    end
    local exit = ticks.exit
    if exit and exit.exit_code ~= 0 and not exit.requested_stop then
        add("exit", exit_text(exit, now))
    end
end

---@param view dgrun.cron.view
---@param now number Fly's time
---@return dgrun.cron.problem[]
---@return dgrun.cron.ticks
function M.problems(view, now)
    local found = {}
    local function add(kind, text, field)
        found[#found + 1] = { kind = kind, text = text, field = field }
    end
    for _, one in ipairs(view.differences) do
        add("drift", one.text, one.field)
    end
    local ticks = ticks_of.of(view.machine, now)
    of_ticks(add, view.machine, ticks, now)
    return found, ticks
end

return M
