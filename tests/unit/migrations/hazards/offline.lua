-- SQL as Alembic writes it: upgrade --sql, one revision for each body of Python.
local fs = require "host.fs"
local proc = require "host.proc"

local M = {}

local env = [[
from alembic import context

context.configure(url=context.config.get_main_option("sqlalchemy.url"), literal_binds=True,
                  transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
]]

local revision = [[
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = %q
down_revision = %s


def upgrade():
%s
]]

local function indented(body)
    return (("\n" .. body):gsub("\n%s*\n", "\n"):gsub("\n", "\n    "))
end

---@param url string
---@param bodies string[] Python, left-aligned; the first is revision r001
---@return string # the folder of an application
function M.application(url, bodies)
    local dir = assert(fs.temp_dir("hazards"))
    assert(fs.mkdir(dir / "migrations/versions", { parents = true }))
    assert(fs.write(dir / "alembic.ini",
        "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = " .. url .. "\n"))
    assert(fs.write(dir / "migrations/env.py", env))
    for i, body in ipairs(bodies) do
        local down = i > 1 and ('"r%03d"'):format(i - 1) or "None"
        assert(fs.write(dir / ("migrations/versions/r%03d.py"):format(i),
            revision:format(("r%03d"):format(i), down, indented(body))))
    end
    return dir
end

---@param url string
---@param bodies string[]
---@return string sql
function M.sql(url, bodies)
    local dir = M.application(url, bodies)
    local result = assert(proc.run {
        argv = { "alembic", "upgrade", "head", "--sql" }, cwd = dir, timeout = 60,
        env = { PATH = os.getenv "PATH" },
    })
    fs.remove(dir, { recursive = true })
    assert(result.status == 0, result.stderr)
    return result.stdout
end

return M
