-- The data folder of a new PostgreSQL server. initdb makes it once for all tests of a run; each
-- server gets a copy of its own.
local daemon = require "support.daemon"
local fs = require "host.fs"
local proc = require "host.proc"
local task = require "dgrun.core.task"

local M = {}

-- The folder of the run: its children find it here.
local VARIABLE = "DGRUN_TEST_TEMPLATES"

---Keeps what is made until the scope ends: of the process that was started first.
function M.keep()
    if os.getenv(VARIABLE) then
        return
    end
    local folder = fs.real(assert(fs.temp_dir "dgrun-templates"))
    task.defer(function() fs.remove(folder, { recursive = true }) end)
    proc.export(VARIABLE, folder)
end

---@param initdb string
---@param dir string a folder that belongs to the user of the server
---@param as_user fun(argv: string[]): string[]
---@param password? string
local function make(initdb, dir, as_user, password)
    local argv = { initdb, "-D", dir / "data", "-U", "dgrun", "--no-sync", "--no-instructions",
        "--wal-segsize=1", "-A", password and "scram-sha-256" or "trust" }
    if password then
        assert(fs.write(dir / "password", password, { mode = "0644" }))
        argv[#argv + 1] = "--pwfile=" .. dir / "password"
    end
    daemon.output(as_user(argv))
end

---@param initdb string
---@param dir string an empty folder that belongs to the user of the server
---@param as_user fun(argv: string[]): string[] a command as that user
---@param password? string
function M.fill(initdb, dir, as_user, password)
    local folder = os.getenv(VARIABLE)
    local template = folder and folder / "postgres"
    if not password and template and fs.exists(template) then
        daemon.output { "cp", "-a", template, dir / "data" }
        return
    end
    make(initdb, dir, as_user, password)
    if not password and template then
        local copy = assert(fs.temp_dir("postgres", folder))
        daemon.output { "cp", "-aT", dir / "data", copy }
        -- Refused when another process was faster: then there is one.
        assert(proc.run { argv = { "mv", "-nT", copy, template } })
    end
end

return M
