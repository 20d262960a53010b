-- Log lines on standard output: text for people, or one JSON object per line.
local format = require "dgrun.core.format"
local json = require "dgrun.core.json"
local log = require "host.log"
local log_line = require "dgrun.core.log_line"
local style = require "dgrun.ui.style"

local M = {}

local palette = { "cyan", "magenta", "green", "blue" }
local levels = { error = "red", err = "red", fatal = "red", critical = "red", warning = "yellow",
    warn = "yellow" }

---@class dgrun.ui.logs
---@field apps string[]
---@field page fun(entries: dgrun.fly.log.entry[]): boolean writes them; true once standard output
---  is closed
---@field trouble fun(app: string, e?: dgrun.err)

---The prefix of each app's lines when there are several apps.
local function prefixes(targets)
    local width, result = 0, {}
    for _, target in ipairs(targets) do
        width = math.max(width, format.width(target.name))
    end
    for i, target in ipairs(targets) do
        result[target.app] = #targets == 1 and ""
            or style.text("out", palette[(i - 1) % #palette + 1],
                format.pad(target.name, width)) .. "  "
    end
    return result
end

---@param entry dgrun.fly.log.entry
---@return string
local function line_of(entry)
    local text = log_line.format(entry, function(part, words)
        return style.text("out", part == "origin" and "dim" or levels[entry.level:lower()], words)
    end)
    -- Later lines of a message are indented, so that they cannot pass for another message.
    return text:gsub("\n", "\n    ") .. "\n"
end

---@param targets dgrun.target[]
---@param as_json boolean
---@return dgrun.ui.logs
function M.new(targets, as_json)
    local view, names, before = { apps = {} }, {}, prefixes(targets)
    for i, target in ipairs(targets) do
        view.apps[i] = target.app
        names[target.app] = target.name
    end

    function view.page(entries)
        local lines = {}
        for i, entry in ipairs(entries) do
            lines[i] = as_json and json.encode(entry) .. "\n" or before[entry.app] .. line_of(entry)
        end
        log.out(table.concat(lines))
        return not log.is_open "out"
    end

    function view.trouble(app, e)
        log.err(e and ("%s: cannot read the log, retrying: %s\n"):format(names[app], e.msg)
            or ("%s: reading the log again\n"):format(names[app]))
    end
    return view
end

return M
