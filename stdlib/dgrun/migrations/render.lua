-- The SQL of revisions, rendered by one run of the project's env.py that changes nothing.
local alembic = require "dgrun.migrations.alembic"
local check = require "dgrun.core.check"
local dburl = require "host.dburl"
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local log = require "host.log"
local proc = require "host.proc"
local program = require "dgrun.migrations.render_program"

local REASON_LIMIT = 160
local TIMEOUT = 120

---@class dgrun.migrations.rendered
---@field sql? string
---@field how? "offline"|"copy"|"read-only" from Alembic's offline mode, from a run on a copy of
---  the database, or from statements that were recorded and not sent
---@field error? string why it is not known

local function last_line(text)
    local last = "it printed nothing"
    for line in log.clean(text):gmatch("[^\n]+") do
        last = line:match("%S") and line or last
    end
    return last
end

---@param reason string
local function short(reason)
    return format.excerpt(log.clean(reason), REASON_LIMIT)
end

local function none(list, reason)
    local rendered = {}
    for _, revision in ipairs(list) do
        rendered[revision.revision] = { error = short(reason) }
    end
    return rendered
end

---@param opts {dir: string, database: userdata|string, env?: table, timeout?: number}
---@param list dgrun.revision[] in the order in which they would be applied
---@param from string[] revisions that they would be applied on
---@param live boolean the database is where they begin: they may run on a copy of it
---@return table<string, dgrun.migrations.rendered> # by revision
return function(opts, list, from, live)
    local python = alembic.find(opts.dir).python
    if not python then
        return none(list, "could not find the Python that has Alembic")
    end
    local ids = {}
    for i, revision in ipairs(list) do
        ids[i] = revision.revision
    end
    local argv = { unpack(python) }
    for _, word in ipairs { "-c", program, json.encode {
        revisions = json.array(ids), from = json.array { unpack(from) }, live = live,
        dialect = check(dburl.parse(opts.database)).dialect } } do
        argv[#argv + 1] = word
    end
    local result = check(proc.run {
        argv = argv, cwd = opts.dir, timeout = opts.timeout or TIMEOUT, read_only = true,
        env = alembic.environment { database = opts.database, env = opts.env },
    })
    if result.status ~= 0 then
        return none(list, last_line(result.stderr))
    end
    local rendered = check(json.decode(result.stdout))
    for _, one in pairs(rendered) do
        one.error = one.error and short(one.error)
    end
    return rendered
end
