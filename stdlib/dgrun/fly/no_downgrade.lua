-- Never backwards: what is to be shipped is compared with what runs.
local check = require "dgrun.core.check"
local commit_reader = require("dgrun.fly.commit").reader
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local git = require "dgrun.git"
local given = require "dgrun.project.environment_options"
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
    local commits, commit_of = {}, commit_reader(app)
    for _, machine in ipairs(machines.list(app)) do
        if machines.is_managed(machine) then
            commits[commit_of(machine) or false] = true
        end
    end
    return commits
end

---How the commit to ship stands to one that runs.
---@return "newer"|"older"|"parted"|"unknown"
local function compare(dir, commit, running)
    local function is_ancestor(ancestor, descendant)
        return git.is_ancestor { dir = dir, ancestor = ancestor, descendant = descendant }
    end
    local ok, older = pcall(is_ancestor, commit, running)
    if not ok and err.is(older, "git.unknown_ref") then
        return "unknown"
    elseif not ok then
        err.raise(older)
    end
    return older and "older" or is_ancestor(running, commit) and "newer" or "parted"
end

local words = {
    older = "%s runs %s, which is newer than %s",
    parted = "%s runs %s, and %s does not contain it: the histories have diverged",
}

---Stops a deploy of a commit that does not contain what runs: one that is older, or one of another
---line of history. The same commit is fine. One that is not in the repository is reported.
---Errors: refused.older, refused.unrelated, git.shallow.
---@param opts {app?: string, commit?: string, unless?: boolean, dir?: string,
---  environment?: dgrun.environment, source?: dgrun.git.source} `environment` gives the app,
---  `source` the commit; `unless` allows it; `dir` is the repository
function M.refuse_older(opts)
    opts = given.fill(opts, { app = given.app, commit = given.commit }, "fly.refuse_older")
    check.options(opts, { app = "string", commit = "string", unless = "boolean?", dir = "string?" },
        "fly.refuse_older")
    for commit in pairs(running_commits(opts.app)) do
        if not commit then
            effect.note(opts.app .. " runs a machine with an unknown commit: not compared")
        elseif commit ~= opts.commit then
            local relation = compare(opts.dir or ".", opts.commit, commit)
            local text = words[relation] and words[relation]:format(opts.app, commit:sub(1, 12),
                opts.commit:sub(1, 12))
            if relation == "unknown" then
                effect.note(("%s runs %s, which is not in this repository: not compared"):format(
                    opts.app, commit:sub(1, 12)))
            elseif text and opts.unless then
                effect.note(text .. "; allowed")
            elseif text then
                err.raise {
                    code = relation == "older" and "refused.older" or "refused.unrelated",
                    op = "fly.refuse_older", running = commit, msg = text,
                    hint = relation == "older" and "Deploy a newer ref, or pass --allow-older."
                        or "Deploy a ref that contains it, or pass --allow-older.",
                }
            end
        end
    end
end

return M
