-- Stand-ins for programs: Python scripts that come first in PATH, and write down how they were
-- called.
local ffi = require "ffi"
local fs = require "host.fs"
local json = require "dgrun.core.json"

local M = {}

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"

local head = [[
#!/usr/bin/env python3
import json, os, sys, urllib.request
with open(%q, "a") as calls:
    calls.write(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(),
        "stdin": "" if os.environ.get("NO_STDIN") else sys.stdin.read()}) + "\n")

def sandbox(path, body):
    request = urllib.request.Request(%q + path, json.dumps(body).encode(),
        {"Authorization": "Bearer fo1_test"})
    return json.load(urllib.request.urlopen(request))

def option(name):
    return sys.argv[sys.argv.index(name) + 1]

]]

---@param url string of the local Fly
---@param programs table<string, string> name → Python
---@param body fun(calls: fun(): table[]) calls tells how they were called so far
function M.with(url, programs, body)
    local dir = assert(fs.temp_dir "programs")
    local calls = dir / "calls.jsonl"
    for name, text in pairs(programs) do
        assert(fs.write(dir / name, head:format(calls, url) .. text, { mode = "0700" }))
    end
    local path = os.getenv "PATH"
    -- Nothing but them and what they need: a builder that is installed must not be found.
    assert(fs.symlink("/usr/bin/python3", dir / "python3"))
    assert(fs.symlink("/usr/bin/env", dir / "env"))
    ffi.C.setenv("PATH", dir, 1)
    local ok, e = pcall(body, function()
        local list = {}
        for line in (fs.read(calls, { limit = 2 ^ 24 }) or ""):gmatch "[^\n]+" do
            list[#list + 1] = json.decode(line)
        end
        return list
    end)
    ffi.C.setenv("PATH", path, 1)
    fs.remove(dir, { recursive = true })
    if not ok then
        error(e, 0)
    end
end

return M
