-- How long it takes to read 1,000 revision files and tell their heads, against `alembic heads` in
-- the same run:
--   dgrun tests/bench/revisions.lua [rounds]
-- A pipeline asks inside its own process where it would have to start Alembic otherwise; a process
-- of dgrun for nothing else is told too. They take turns; the median counts. Python's bytecode is
-- kept between the rounds, which is Alembic's better case. Status 1: it was less than 20 times.
local dg = require "dgrun"
local fs = require "host.fs"
local revisions = require "dgrun.migrations.revisions"
local time = require "host.time"

local COUNT = 1000
local rounds = tonumber((...)) or 7
local binary = os.getenv "DGRUN_BINARY" or fs.real "/proc/self/exe"

local text = [[
"""revision %d

Revision ID: %s
Revises: %s
"""
from typing import Sequence, Union

from alembic import op
import sqlalchemy as sa

revision: str = "%s"
down_revision: Union[str, None] = %s
branch_labels: Union[str, Sequence[str], None] = None
depends_on: Union[str, Sequence[str], None] = None


def upgrade() -> None:
    op.create_table("table_%d", sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(length=50), nullable=False))
    op.create_index(op.f("ix_%d"), "table_%d", ["name"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_%d"), table_name="table_%d")
    op.drop_table("table_%d")
]]

local function id_of(i)
    return ("%08x%04x"):format(i * 2654435761 % 4294967296, i)
end

local function write_files(dir)
    assert(fs.mkdir(dir / "migrations/versions", { parents = true }))
    assert(fs.write(dir / "alembic.ini", "[alembic]\nscript_location = %(here)s/migrations\n"))
    for i = 1, COUNT do
        local id, below = id_of(i), i > 1 and ('"%s"'):format(id_of(i - 1)) or "None"
        assert(fs.write(dir / "migrations/versions" / id .. "_revision.py",
            text:format(i, id, below, id, below, i, i, i, i, i, i)))
    end
    assert(fs.write(dir / "heads.lua",
        "print(table.concat(require('dgrun.migrations.revisions').heads("
        .. "require('dgrun.migrations.revisions').read(...)), ' '))\n"))
end

local function median(values)
    table.sort(values)
    return values[math.ceil(#values / 2)]
end

local dir = assert(fs.temp_dir "revisions")
write_files(dir)

local function run(argv)
    local result = dg.proc.run { argv = argv, cwd = dir, read_only = true,
        env = { PYTHONDONTWRITEBYTECODE = false } }
    assert(result.stdout:find(id_of(COUNT), 1, true), result.stdout .. result.stderr)
    return result.seconds
end

local function call()
    local start = time.now()
    local heads = revisions.heads(revisions.read(dir))
    assert(#heads == 1 and heads[1] == id_of(COUNT))
    return time.now() - start
end

local ways = {
    { name = "alembic heads", seconds = {}, take = function()
        return run { "/usr/bin/python3", "-m", "alembic.config", "heads" }
    end },
    { name = "dgrun, in a run", seconds = {}, take = call, limit = 20 },
    { name = "dgrun, a process", seconds = {}, take = function()
        return run { binary, dir / "heads.lua", dir }
    end },
}
for round = 0, rounds do
    for _, way in ipairs(ways) do
        local seconds = way.take()
        -- The first round fills the caches, Python's too.
        if round > 0 then
            table.insert(way.seconds, seconds)
        end
    end
end
fs.remove(dir, { recursive = true })

local base, slow = median(ways[1].seconds), false
for _, way in ipairs(ways) do
    local own = median(way.seconds)
    local ratio = base / own
    slow = slow or ratio < (way.limit or 0)
    print(("%-17s %7.1f ms  %.1f times as fast as alembic heads%s"):format(way.name, own * 1000,
        ratio, way.limit and ("  (%s %d)"):format(ratio >= way.limit and "at least" or "below",
            way.limit) or ""))
end
os.exit(slow and 1 or 0)
