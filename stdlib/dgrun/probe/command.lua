-- One attempt of a command probe, judged by the exit status.
local err = require "dgrun.core.err"
local log = require "host.log"
local proc = require "host.proc"

local M = {}

M.name = "command"
M.options = {
    argv = "table", expect = "any?", unknown = "any?", stdout = "string?", cwd = "string?",
    env = "table?", timeout = "seconds?",
}
M.hint = "Run the command manually to see its output."

local DEFAULT_SECONDS = 30
local SHOWN_BYTES = 200

local function statuses_of(opts, name, fallback)
    local given = opts[name] == nil and fallback or opts[name]
    local list = type(given) == "table" and given or { given }
    local set = {}
    for _, status in ipairs(list) do
        if type(status) ~= "number" or status % 1 ~= 0 or status < 0 or status > 255 then
            err.raise { code = "input.invalid", op = "probe.command",
                msg = ("probe.command: %s must be an exit status or a list of exit "
                    .. "statuses"):format(name) }
        end
        set[status] = true
    end
    return set
end

local function last_line(result)
    local text = result.stderr:find("%S") and result.stderr or result.stdout
    local last = ""
    for line in text:gmatch("[^\r\n]+") do
        last = line:find("%S") and line or last
    end
    return log.clean(last):sub(1, SHOWN_BYTES)
end

---@param opts dgrun.probe.command
---@return dgrun.probe.one
function M.prepare(opts)
    local good, unknown = statuses_of(opts, "expect", 0), statuses_of(opts, "unknown", {})
    local function try()
        local result, e = proc.run {
            argv = opts.argv, cwd = opts.cwd, env = opts.env, read_only = true,
            timeout = opts.timeout or DEFAULT_SECONDS,
        }
        if not result and err.is(e, "proc.timeout") then
            return { outcome = "bad", why = e.msg }
        elseif not result then
            err.raise(e)
        end
        local said = last_line(result)
        local why = ("exited with status %d%s"):format(result.status,
            said ~= "" and ": " .. said or "")
        local outcome = good[result.status] and "good"
            or unknown[result.status] and "unknown" or "bad"
        if outcome == "good" and opts.stdout and not result.stdout:find(opts.stdout, 1, true) then
            outcome, why = "bad", ("its output lacks %q"):format(opts.stdout)
        end
        return { outcome = outcome, why = why,
            result = { status = result.status, stdout = result.stdout } }
    end
    return { what = ("'%s'"):format(table.concat(opts.argv, " "):gsub("%c", " ")), try = try }
end

return M
