-- The places a store can be in: a file, a PostgreSQL, a PostgreSQL behind a pooler in transaction
-- mode. One server for all tests of a file.
local pgbouncer = require "support.pgbouncer"
local postgres = require "support.postgres"
local project = require "support.project"
local store = require "dgrun.run.store"
local task = require "dgrun.core.task"

local M = {}

M.kinds = { "SQLite", "PostgreSQL", "PostgreSQL behind pgbouncer" }

local urls = {}
M.server = nil ---@type support.postgres?

---@param pooler boolean is it needed, too?
function M.start(pooler)
    M.server = postgres.start()
    urls[M.kinds[2]] = M.server.url
    if pooler then
        M.pooler = pgbouncer.start(M.server)
        urls[M.kinds[3]] = M.pooler.url
    end
end

function M.stop()
    if M.pooler then
        M.pooler.stop()
    end
    M.server.stop()
    M.server, M.pooler, urls = nil, nil, {}
end

---Rows of a query that the store does not see.
---@param sql string
function M.ask(sql)
    local connection = assert(require("host.postgres").connect { url = M.server.url })
    local rows = assert(connection:query(sql))
    connection:close()
    return rows
end

---@class support.store
---@field root string a project of its own
---@field url? string of PostgreSQL
---@field env table<string, string|false> for a dgrun that is to use it
---@field open fun(opts?: dgrun.store.options): dgrun.store closed at the end of the test

---An empty one.
---@param kind string
---@return support.store
function M.new(kind)
    local url = urls[kind]
    if url then
        M.ask "DROP SCHEMA IF EXISTS dgrun CASCADE"
    end
    local root = project.make { ["scripts/none.lua"] = "" }
    return {
        root = root, url = url, env = { DGRUN_STORE = url or false },
        open = function(opts)
            opts = opts or {}
            opts.url = url
            local opened = store.open(root, opts)
            task.defer(function() opened:close() end)
            return opened
        end,
    }
end

return M
