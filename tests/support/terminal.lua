-- A command in a terminal of its own, with somebody at the keys: see terminal.py.
local json = require "dgrun.core.json"
local proc = require "host.proc"

local M = {}

local program = require("host.fs").absolute "tests/support/terminal.py"

---@class support.terminal.result
---@field status integer
---@field output string all that the terminal showed
---@field during boolean[] did it show what is typed when each step began?
---@field shows boolean does it now?
---@field restored boolean are its settings what they were?
---@field left string what was typed and nobody read

---@param steps table[]
---@param argv string[]
---@param opts? {cwd?: string, env?: table}
---@return support.terminal.result
function M.run(steps, argv, opts)
    opts = opts or {}
    local result = assert(proc.run { cwd = opts.cwd, env = opts.env, timeout = 90, argv = {
        "/usr/bin/python3", program, json.encode(steps), unpack(argv) } })
    local answer = json.decode(result.stdout)
    assert(not answer.stuck, answer.stuck)
    return answer
end

return M
