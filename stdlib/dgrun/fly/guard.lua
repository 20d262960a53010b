-- Never backwards: what is to be shipped is compared with what runs.
local check = require "dgrun.check"
local effect = require "dgrun.effect"
local err = require "dgrun.err"
local machines = require "dgrun.fly.machines"

local M = {}

---Was the app ever deployed?
---@param app string
---@return boolean
function M.deployed(app)
    local status = machines.app(app).status
    return status == "deployed" or status == "suspended"
end

---The commits on the managed machines; `false` for one that does not say.
local function running_commits(app)
    local commits = {}
    for _, machine in ipairs(machines.list(app)) do
        if machines.is_managed(machine) then
            commits[machine.config.metadata.dgrun_commit or false] = true
        end
    end
    return commits
end

---Stops a deploy of a commit that is older than what runs.
---@param opts {app: string, commit: string, unless?: boolean, dir?: string}
---  `unless` allows it; `dir` is the repository
function M.refuse_older(opts)
    check.options(opts, { app = "string", commit = "string", unless = "boolean?", dir = "string?" },
        "fly.refuse_older")
    local git = require "dgrun.git"
    for commit in pairs(running_commits(opts.app)) do
        if not commit then
            effect.note(opts.app .. " runs a machine of unknown commit: not compared")
        elseif commit ~= opts.commit then
            local ok, older = pcall(git.is_ancestor, { dir = opts.dir or ".",
                ancestor = opts.commit, descendant = commit })
            if err.is(older, "cancelled") or err.is(older, "git.shallow") then
                err.raise(older)
            elseif not ok then
                effect.note(("%s runs %s, which is not in this repository: not compared"):format(
                    opts.app, commit:sub(1, 12)))
            elseif older and not opts.unless then
                err.raise {
                    code = "refused.older", op = "fly.refuse_older", running = commit,
                    msg = ("%s runs %s, which is newer than %s"):format(opts.app,
                        commit:sub(1, 12), opts.commit:sub(1, 12)),
                    hint = "Deploy a newer ref, or say --allow-older.",
                }
            end
        end
    end
end

return M
