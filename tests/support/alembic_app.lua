-- A small application with migrations, for the real Alembic: files by path.
local M = {}

M.env_py = [[
import os
from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

url = os.environ["DATABASE_URL"]
if context.is_offline_mode():
    context.configure(url=url, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
]]

local revision = [[
"""%s"""
import sqlalchemy as sa
from alembic import op
revision = "%s"
down_revision = %s
branch_labels = None
depends_on = None


def upgrade():
    %s


def downgrade():
    %s
]]

---The text of a revision file.
---@param id string
---@param down string|nil the id below
---@param up string Python
---@param back? string Python of the downgrade
---@param message? string
function M.revision(id, down, up, back, message)
    return revision:format(message or "change " .. id, id, down and '"' .. down .. '"' or "None",
        up:gsub("\n", "\n    "), (back or "pass"):gsub("\n", "\n    "))
end

---@param revisions table<string, string> name of a file → its text
---@return table<string, string> # all files, by path
function M.files(revisions)
    local files = {
        ["alembic.ini"] = "[alembic]\nscript_location = migrations\n",
        ["migrations/env.py"] = M.env_py,
    }
    for name, text in pairs(revisions) do
        files["migrations/versions/" .. name] = text
    end
    return files
end

return M
