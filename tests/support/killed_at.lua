-- dgrun tests/support/killed_at.lua -- WHEN TEXT ARGUMENT…: dgrun with these arguments, which kills
-- itself once it has printed a line with TEXT on standard error: at that line, or, where WHEN is
-- "after", at the next one. So a test kills at a point, and not after some time.
local ffi = require "ffi"
local log = require "host.log"

ffi.cdef [[ int kill(int pid, int signal); int getpid(void); ]]

local SIGKILL = 9
local when, text = ...

local print_error = log.err
local seen = false
function log.err(line)
    local now = line:find(text, 1, true) ~= nil
    print_error(line)
    if when == "after" and seen or when == "at" and now then
        log.flush()
        ffi.C.kill(ffi.C.getpid(), SIGKILL)
    end
    seen = seen or now
end

require("dgrun.run").leave()
local status = require("dgrun.cli").main { select(3, ...) }
log.flush()
os.exit(status)
