-- Cron machines of a sandbox, for tests: what is declared of them, what is there.
local fs = require "host.fs"

local M = {}

M.image_a = "registry.fly.io/web:a"
M.image_b = "registry.fly.io/web:b"

---Writes a fly.cron.toml.
---@param fly table of support.fly_run
---@param more? {command?: string, region?: string, memory?: string, text?: string, file?: string}
function M.config(fly, more)
    more = more or {}
    local text = ('primary_region = "%s"\n%s\n[processes]\ncron = "%s"\n[env]\nNAME = "%s"\n'
        .. '[[vm]]\nmemory = "%s"\n'):format(more.region or "ewr", more.text or "",
        more.command or "run the job", more.name or "x", more.memory or "512mb")
    assert(fs.write(fly.dir / (more.file or "cron.toml"), text))
end

---The options of cron.sync for one machine called job.
---@param more? table of the declaration
function M.options(fly, more)
    if not fs.exists(fly.dir / "cron.toml") then
        M.config(fly)
    end
    local cron = { name = "job", config = "cron.toml", schedule = "hourly",
        when_running = { wait = 0.2, ["then"] = "skip" } }
    for name, value in pairs(more or {}) do
        cron[name] = value
    end
    return { app = "web", dir = fly.dir, image = M.image_a, crons = { cron } }
end

---All machines that are there.
function M.machines(fly)
    local _, list = fly.call("GET", "/v1/apps/web/machines")
    local there = {}
    for _, machine in ipairs(list) do
        there[#there + 1] = machine.state ~= "destroying" and machine or nil
    end
    return there
end

---The only machine.
function M.job(fly)
    local list = M.machines(fly)
    assert(#list == 1, ("%d machines"):format(#list))
    return list[1]
end

---How often it was started.
function M.starts(machine)
    local count = 0
    for _, event in ipairs(machine.events) do
        count = count + (event.type == "start" and 1 or 0)
    end
    return count
end

---All notes of a run, joined.
function M.notes(record)
    local texts = {}
    for i, note in ipairs(record.notes) do
        texts[i] = note.text
    end
    return table.concat(texts, "\n")
end

---Asserts that a run went well.
function M.done(record)
    assert(record.status == "done", tostring(record.error))
    return record
end

return M
