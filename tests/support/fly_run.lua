-- A run against a sandbox of its own, in this process: fly_run.with(function(fly, project) … end).
local api = require "dgrun.fly.api"
local fs = require "host.fs"
local run = require "dgrun.run"
local sandbox = require "support.sandbox"

local M = {}

---The kinds of the effects of a run, in order.
---@return string[]
function M.kinds(record)
    local list = {}
    for i, effect in ipairs(record.effects) do
        list[i] = effect.kind
    end
    return list
end

---@param body fun(fly: table, execute: fun(f: function, plan?: boolean): table)
---@param opts? table as for support.sandbox; wait: how much of its pauses dgrun takes, 0.02
function M.with(body, opts)
    sandbox.run(function(fly)
        api.use { token = fly.sandbox.token, machines_url = fly.sandbox.url,
            api_url = fly.sandbox.url, uiex_url = fly.sandbox.url, sandbox = true,
            site = fly.sandbox.site, pace = opts and opts.wait or 0.02 }
        local root = assert(fs.temp_dir("project"))

        ---One run (or plan) of `f`; its record, with effects, notes and what `f` returned.
        local function execute(f, plan)
            local result
            local record = run.execute({ name = "test", root = root, plan = plan or false },
                function() result = f() end)
            record.value = result
            return record
        end
        local ok, e = pcall(body, fly, execute)
        api.use {}
        fs.remove(root, { recursive = true })
        if not ok then
            error(e, 0)
        end
    end, opts)
end

return M
