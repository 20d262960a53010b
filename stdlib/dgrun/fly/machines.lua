-- Machines of an app, a call each: docs/fly/machines-api.md, section 6.
local api = require "dgrun.fly.api"
local duration = require "dgrun.core.duration"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local http = require "dgrun.http"
local json = require "dgrun.core.json"
local opt = require "host.opt"
local retry = require "dgrun.fly.retry"
local task = require "dgrun.core.task"
local time = require "host.time"

local M = {}

local WAIT_LIMIT = 60
local VISIBLE_SECONDS = 5
---How long an update waits for the end of another one.
local BUSY_SECONDS = 60

local function path(app, id, verb)
    if not id then
        return api.path("/v1/apps/%s/machines", app)
    end
    return api.path("/v1/apps/%s/machines/%s", app, id) .. (verb or "")
end

---The app itself; an error that says what to do when there is none.
---@param app string
---@return table
function M.app(app)
    local body, status = api.machines("GET", api.path("/v1/apps/%s", app),
        { ok = { [404] = true } })
    if status == 404 then
        err.raise {
            code = "fly.no_app", op = "fly", app = app,
            msg = ("Fly has no app named '%s'"):format(app),
            hint = api.is_sandbox() and "The local Fly has the apps of environments.yaml."
                or ("Create it (fly apps create %s), or correct `app` in environments.yaml.")
                    :format(app),
        }
    end
    return body
end

---What is null counts as absent, as it does for Fly.
local function without_nulls(t)
    for name, value in pairs(t) do
        if value == json.null then
            t[name] = nil
        end
    end
    return t
end

---A machine as the rest of the library reads it. One on a host that is gone shows what is known of
---its configuration under another name.
---@param machine table as the API answers; changed in place
---@return table machine
function M.plain(machine)
    without_nulls(machine)
    local config = machine.config or machine.incomplete_config
    machine.config = type(config) == "table" and without_nulls(config) or nil
    return machine
end

---@param app string
---@param query? table<string, string> include_deleted, …: docs/fly/machines-api.md, section 6.1
---@return table[] machines
function M.list(app, query)
    local list = api.machines("GET", path(app), { query = query })
    for _, machine in ipairs(list) do
        M.plain(machine)
    end
    return list
end

---@param with? {leases?: boolean}
---@return table? # nil when it is gone
function M.get(app, id, with)
    local machine, status = api.machines("GET", path(app, id), { ok = { [404] = true },
        query = with and with.leases and { include_leases = "true" } or nil })
    return status ~= 404 and M.plain(machine) or nil
end

---The processes that run in a machine, with what they listen on.
---@return {pid: integer, command: string, listen_sockets: {proto: string, address: string}[]}[]
function M.processes(app, id)
    return api.machines("GET", path(app, id, "/ps"))
end

local TEST_GROUP = "fly_app_test_machine_command"
local reserved = { fly_app_release_command = true, fly_app_console = true, [TEST_GROUP] = true }

---The process group of a machine, by its metadata.
---@param default? string of a machine without one, "app"
---@return string
function M.group(machine, default)
    local metadata = machine.config and machine.config.metadata or {}
    local group = metadata.fly_process_group or metadata.process_group
    return group and group ~= "" and group or default or "app"
end

---Is it destroyed, or about to be?
---@return boolean
function M.is_gone(machine)
    return machine.state == "destroyed" or machine.state == "destroying"
end

---Its checks, without those that a bluegreen deploy of flyctl adds for a moment.
---@return table[] as the API shows them
function M.checks(machine)
    local list = {}
    for _, one in ipairs(machine.checks or {}) do
        if not tostring(one.name):find "^bg_deployments_compat" then
            list[#list + 1] = one
        end
    end
    return list
end

---Is it one that deploys touch? docs/fly/deploy.md, section 7.
---@return boolean
function M.is_managed(machine)
    local metadata = machine.config and machine.config.metadata or {}
    return metadata.fly_platform_version == "v2" and not M.is_gone(machine)
        and not reserved[M.group(machine)]
end

---Is it a test machine that a deploy left behind? The next deploy removes it.
---@return boolean
function M.is_test(machine)
    local metadata = machine.config and machine.config.metadata or {}
    return metadata.fly_platform_version == "v2" and not M.is_gone(machine)
        and M.group(machine) == TEST_GROUP
end

---Is it one with a schedule that no deploy touches?
---@return boolean
function M.is_cron(machine)
    return machine.config ~= nil and machine.config.schedule ~= nil
        and not M.is_gone(machine) and not M.is_managed(machine)
end

---A mark to find again what a call made whose answer was lost.
local function mark(body)
    local launch = ("%x%06x"):format(time.wall() * 1000, math.random(0, 0xffffff))
    body.config.metadata = body.config.metadata or {}
    body.config.metadata.dgrun_launch = launch
    return launch
end

local function is_marked(machine, launch)
    local metadata = machine and machine.config and machine.config.metadata
    return metadata ~= nil and metadata.dgrun_launch == launch
end

---Creates a machine, once.
---@param app string
---@param body table of the Machines API
---@return table machine
function M.create(app, body)
    local launch = mark(body)
    return retry.settled(function()
        return M.plain(api.machines("POST", path(app), { json = body, once = true }))
    end, function()
        for _, machine in ipairs(M.list(app)) do
            if is_marked(machine, launch) then
                return machine
            end
        end
    end)
end

---Does another update of the machine go on, or its replacement by a new version? Fly answers with
---various statuses: "aborted: machine is replacing: concurrent update in progress".
local function is_busy(e)
    local reason = type(e) == "table" and e.reason or ""
    return reason:find("concurrent update in progress", 1, true) ~= nil
        or reason:find("machine is replacing", 1, true) ~= nil
end

local function update_once(app, id, body, nonce)
    local launch = mark(body)
    return retry.settled(function()
        return M.plain(api.machines("POST", path(app, id),
            { json = body, nonce = nonce, once = true }))
    end, function()
        local machine = M.get(app, id)
        return is_marked(machine, launch) and machine or nil
    end)
end

---Waits for the end of an update that another client began.
---@param body table of the Machines API; its config replaces the machine's
---@param nonce? string
---@return table machine with a new instance_id
function M.update(app, id, body, nonce)
    local deadline = time.now() + api.pace(BUSY_SECONDS)
    while true do
        local ok, result = pcall(update_once, app, id, body, nonce)
        if ok then
            return result
        elseif not is_busy(result) or time.now() >= deadline then
            err.raise(result)
        end
        M.wait_once(app, id, { state = "settled", seconds = api.pace(BUSY_SECONDS) })
        task.sleep(api.pace(1))
    end
end

---Was it started since it was made or changed last? Of a machine that was not, nobody knows
---whether its schedule goes on. True where the events do not tell.
---@return boolean
function M.was_started(machine)
    for _, event in ipairs(machine.events or {}) do
        if event.type == "start" or event.type == "exit" then
            return true
        elseif event.type == "update" or event.type == "launch" then
            return false
        end
    end
    return true
end

local up = { started = true, starting = true }

---@param nonce? string
---@param how? {fresh?: boolean} fresh: it was not started since it was made or changed last, so
---  that one that ended already was started by this call
function M.start(app, id, nonce, how)
    local answer = retry.settled(function()
        return api.machines("POST", path(app, id, "/start"), { nonce = nonce, once = true })
    end, function()
        local machine = M.get(app, id)
        return machine and (up[machine.state] or how and how.fresh and M.was_started(machine))
            and {}
    end)
    if answer and answer.status == "error" then
        err.raise { code = "fly.start_failed", op = "fly.machines.start",
            msg = ("machine %s was not started: %s"):format(id, tostring(answer.message)) }
    end
end

---@param nonce? string
---@param how? {signal?: string, timeout?: number} timeout: seconds until it is killed
function M.stop(app, id, nonce, how)
    how = how or {}
    api.machines("POST", path(app, id, "/stop"), { nonce = nonce, repeatable = true, json = {
        signal = how.signal,
        timeout = how.timeout and duration.of_seconds(how.timeout),
    } })
end

---Takes a machine out of the proxy's sight.
---@param nonce? string
function M.cordon(app, id, nonce)
    api.machines("POST", path(app, id, "/cordon"), { nonce = nonce, repeatable = true })
end

---@param nonce? string
function M.uncordon(app, id, nonce)
    api.machines("POST", path(app, id, "/uncordon"), { nonce = nonce, repeatable = true })
end

---Sets one entry of a machine's metadata; its version stays.
---@param name string
---@param value string
---@param nonce? string
function M.set_metadata(app, id, name, value, nonce)
    api.machines("POST", path(app, id, "/metadata/" .. http.escape(name)),
        { json = { value = value }, nonce = nonce, repeatable = true })
end

---One that is gone already is fine.
---@param nonce? string
function M.destroy(app, id, nonce)
    api.machines("DELETE", path(app, id), { query = { kill = "true" }, nonce = nonce,
        ok = { [404] = true } })
end

---One wait of the API. `reached` is false when the time was over first; a machine that is gone
---has reached `destroyed`.
---@param wait {state: string, seconds: number, instance_id?: string}
---@return boolean reached
function M.wait_once(app, id, wait)
    local timeout = math.max(1, math.min(WAIT_LIMIT, math.ceil(wait.seconds)))
    local query = { state = wait.state, timeout = timeout }
    if wait.instance_id and wait.state ~= "destroyed" then
        query.instance_id, query.version = wait.instance_id, wait.instance_id
    end
    local _, status = api.machines("GET", path(app, id, "/wait"), {
        query = query, timeout = timeout + 15, ok = { [408] = true, [404] = true },
    })
    if status == 404 and wait.state ~= "destroyed" then
        err.raise { code = "fly.not_found", op = "fly.machines.wait",
            msg = ("machine %s of %s is gone"):format(id, app) }
    end
    return status ~= 408
end

---The wait loop of docs/fly/machines-api.md, section 6.9. What was created a moment ago may not be
---there yet.
---@param wait {state: string, seconds: number, instance_id?: string, look?: fun(machine: table)}
---  `look` sees the machine whenever a wait ends early, and may raise
function M.wait(app, id, wait)
    local deadline = time.now() + wait.seconds
    local visible = time.now() + api.pace(VISIBLE_SECONDS)
    while true do
        local left = deadline - time.now()
        local slice = wait.look and math.min(left, api.pace(10)) or left
        local ok, reached = pcall(M.wait_once, app, id, { state = wait.state, seconds = slice,
            instance_id = wait.instance_id })
        if ok and reached then
            return
        elseif not ok and (not err.is(reached, "fly.not_found") or time.now() >= visible) then
            err.raise(reached)
        elseif not ok then
            task.sleep(api.pace(0.5))
        end
        local machine = M.get(app, id)
        if machine and wait.look then
            wait.look(machine)
        end
        if time.now() >= deadline then
            err.raise {
                code = "fly.timeout", op = "fly.machines.wait", machine = id,
                msg = ("machine %s of %s did not become %s within %g s; it is %s"):format(
                    id, app, wait.state, wait.seconds, machine and machine.state or "gone"),
                hint = "Look at its log; run again after fixing the cause.",
            }
        end
    end
end

---@class dgrun.fly.exit
---@field exit_code integer
---@field oom_killed boolean
---@field requested_stop boolean
---@field restarting boolean
---@field restart_count integer
---@field timestamp number milliseconds

---The newest exit event: docs/fly/machines-api.md, section 5.1.
---@return dgrun.fly.exit?
function M.last_exit(machine)
    for _, event in ipairs(machine.events or {}) do
        local request = event.type == "exit" and event.request
        local exit = request and ((request.MonitorEvent and request.MonitorEvent.exit_event)
            or request.exit_event)
        if exit then
            return {
                exit_code = exit.exit_code or 0, oom_killed = exit.oom_killed == true,
                requested_stop = exit.requested_stop == true, restarting = exit.restarting == true,
                restart_count = request.restart_count or 0, timestamp = event.timestamp,
            }
        end
    end
end

---Does it end again and again? docs/fly/machines-api.md, section 5.1, "crash loop".
---@return boolean
function M.is_crashing(machine)
    local exit = M.last_exit(machine)
    return exit ~= nil and not exit.requested_stop and exit.restarting
        and exit.restart_count > 1 and exit.exit_code ~= 0
end

---Did it crash until its restart policy gave up? An update leaves such a machine stopped.
---@return boolean
function M.has_given_up(machine)
    local exit = machine.state == "stopped" and M.last_exit(machine)
    local policy = machine.config and machine.config.restart and machine.config.restart.policy
    return exit ~= nil and exit ~= false and exit.exit_code ~= 0 and not exit.requested_stop
        and not exit.restarting and policy ~= "no" and not machine.config.schedule
end

-- Machines as people name them: by id, by the beginning of an id that no other has, or by name.

local SHOWN = 8

---Those that are not destroyed.
local function living(app)
    local list = {}
    for _, machine in ipairs(M.list(app)) do
        list[#list + 1] = machine.state ~= "destroyed" and machine or nil
    end
    return list
end

local function matches(list, word)
    for _, key in ipairs { "id", "name" } do
        for _, machine in ipairs(list) do
            if machine[key] == word then
                return { machine }
            end
        end
    end
    local found = {}
    for _, machine in ipairs(list) do
        if word ~= "" and machine.id:sub(1, #word) == word then
            found[#found + 1] = machine
        end
    end
    return found
end

local function called(machine)
    return machine.name and ("%s (%s)"):format(machine.id, machine.name) or machine.id
end

local function names_of(list)
    local names = {}
    for i, machine in ipairs(list) do
        names[i] = i <= SHOWN and called(machine) or nil
    end
    names[#names + 1] = #list > SHOWN and ("%d more"):format(#list - SHOWN) or nil
    return format.list(names)
end

local function refuse_ambiguous(app, word, found)
    err.raise { code = "input.ambiguous_machine", op = "fly.machines.find",
        msg = ("%s has %d machines whose id begins with '%s'"):format(app, #found, word),
        hint = "Matches: " .. names_of(found) .. "." }
end

---@param apps string[]
local function refuse_unknown(apps, word, list)
    local known = {}
    for _, machine in ipairs(list) do
        known[#known + 1] = machine.id
        known[#known + 1] = machine.name
    end
    local nearest = opt.nearest(word, known)
    err.raise { code = "fly.not_found", op = "fly.machines.find",
        msg = ("%s no machine '%s'"):format(#apps == 1 and apps[1] .. " has"
            or format.list(apps) .. " have", word),
        hint = nearest and ("Did you mean '%s'?"):format(nearest)
            or #list > 0 and ("Known: %s."):format(names_of(list)) or "No machines exist." }
end

---The machines of these words, in their order, each once.
---Errors: fly.not_found, input.ambiguous_machine.
---@param app string
---@param words string[]
---@return table[] machines as the API shows them
function M.find(app, words)
    local list, result, seen = living(app), {}, {}
    for _, word in ipairs(words) do
        local found = matches(list, word)
        if #found == 0 then
            refuse_unknown({ app }, word, list)
        elseif #found > 1 then
            refuse_ambiguous(app, word, found)
        elseif not seen[found[1].id] then
            seen[found[1].id] = true
            result[#result + 1] = found[1]
        end
    end
    return result
end

---Which of several apps has a machine of this name. A whole id is taken as it is: the machine may
---be gone, and something of it, such as its log, still be there.
---@param apps string[]
---@param word string
---@return string id
---@return string[] apps that can have it
function M.locate(apps, word)
    if word:match "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x$" then
        return word, apps
    end
    local all = {}
    for _, app in ipairs(apps) do
        local list = living(app)
        local found = matches(list, word)
        if #found > 1 then
            refuse_ambiguous(app, word, found)
        elseif found[1] then
            return found[1].id, { app }
        end
        for _, machine in ipairs(list) do
            all[#all + 1] = machine
        end
    end
    return refuse_unknown(apps, word, all)
end

return M
