-- An application whose migrations are in a folder called alembic/, which is a Python package.
local app = require "support.alembic_app"
local ffi = require "ffi"
local migrations = require "dgrun.migrations"
local project = require "support.project"
local run = require "dgrun.run"
local task = require "dgrun.core.task"
local time = require "host.time"

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

ffi.cdef [[
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
]]

local ini = [[
; The sections of this file are read by Alembic.
; prepend_sys_path lets env.py import the application.
[alembic]
script_location = alembic
prepend_sys_path = .
sqlalchemy.url =
]]

local settings = [[
import os

SECRET_KEY = os.environ["SECRET_KEY"]
URL = os.environ["DATABASE_URL"]
]]

local function make()
    local revision = app.revision("aaaa", nil,
        'op.create_table("a", sa.Column("id", sa.Integer))')
    return project.make {
        ["alembic.ini"] = ini, ["alembic/__init__.py"] = "", ["app/__init__.py"] = "",
        ["app/settings.py"] = settings, ["alembic/versions/a.py"] = revision,
        ["alembic/env.py"] = "from app import settings\n" .. app.env_py:gsub(
            'os.environ%["DATABASE_URL"%]', "settings.URL"),
    }
end

local function execute(dir, plan, f)
    local record = run.execute({ name = "test", root = dir, plan = plan }, f)
    assert.is_nil(record.error, tostring(record.error))
    return record
end

local function with_python_path(value, body)
    ffi.C.setenv("PYTHONPATH", value, 1)
    task.scope(function()
        task.defer(function() ffi.C.unsetenv "PYTHONPATH" end)
        body()
    end)
end

describe("a folder alembic/ of the application", function()
    local function migrates()
        local dir = make()
        local opts = { dir = dir, database = "sqlite:///app.db", env = { SECRET_KEY = "s3cret-x" } }
        local found
        execute(dir, true, function() found = migrations.plan(opts) end)
        assert.matches("CREATE TABLE a", found.pending[1].sql)
        assert.same({ "aaaa" }, execute(dir, false, function()
            return migrations.upgrade(opts)
        end).result.applied)
    end

    it("does not take the place of the library", migrates)

    it("does not, where PYTHONPATH leads to the checkout", function()
        with_python_path(".", migrates)
        with_python_path("", migrates)
    end)
end)
