-- Refs that were asked for, and what to say about those that are not there.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local host = require "host.git"
local opt = require "host.opt"

local M = {}

local function short_name(name, remote)
    return name:match("^refs/tags/(.+)$") or name:match("^refs/heads/(.+)$")
        or name:match("^refs/remotes/" .. remote:gsub("%p", "%%%0") .. "/(.+)$")
end

---Is there a remote of this name, to fetch from?
---@param dir string
---@param remote string
---@return boolean
function M.has_remote(dir, remote)
    return host.config { dir = dir, name = ("remote.%s.url"):format(remote) } ~= nil
end

---How to get what a clone lacks.
local function how_to_fetch(dir, remote, shallow)
    if not M.has_remote(dir, remote) then
        return ("This repository has no remote '%s' to fetch from."):format(remote)
    elseif shallow then
        return ("This clone is shallow: 'git fetch --unshallow %s' fetches the "
            .. "rest."):format(remote)
    end
    return ("'git fetch --tags %s' fetches new commits and tags."):format(remote)
end

---The hint of an unknown ref: the nearest name, and how to get what the clone has not.
local function hint(dir, ref, remote)
    local names, seen = {}, {}
    for _, one in ipairs(host.refs { dir = dir } or {}) do
        local name = short_name(one.name, remote)
        if name and name ~= "HEAD" and not seen[name] then
            seen[name] = true
            names[#names + 1] = name
        end
    end
    local parts = {}
    local nearest = opt.nearest(ref, names)
    if nearest then
        parts[1] = ("Did you mean '%s'?"):format(nearest)
    end
    local info = host.info { dir = dir }
    parts[#parts + 1] = how_to_fetch(dir, remote, info and info.shallow)
    return table.concat(parts, " ")
end

---@param dir string
---@param ref string
---@param remote string
---@param op string
---@return {commit: string, kind: string, name: string?, remote_commit: string?}
function M.resolve(dir, ref, remote, op)
    check(host.check_ref(ref, op))
    local found = check(host.resolve { dir = dir, ref = ref, remote = remote })
    if found then
        return found
    end
    err.raise {
        code = "git.unknown_ref", op = op, ref = ref,
        msg = ("%s: no commit, tag, or branch '%s' in %s"):format(
            op, ref, fs.absolute(dir)),
        hint = hint(dir, ref, remote),
    }
end

---An answer about history is only as good as the history that is there.
function M.require_history(dir, remote, op)
    if check(host.info { dir = dir }).shallow then
        err.raise {
            code = "git.shallow", op = op,
            msg = op .. ": the clone is shallow; its history is incomplete",
            hint = how_to_fetch(dir, remote, true)
                .. " In GitHub Actions: actions/checkout with fetch-depth: 0.",
        }
    end
end

---Raises git.invalid_ref for what git does not take as the name of a new tag.
function M.check_tag_name(name, op)
    check(host.check_ref(name, op))
    local component = "/" .. name .. "/"
    local bad = name:find("[~^]") or name:find("@{", 1, true) or name == "@"
        or component:find("//", 1, true) or component:find("/.", 1, true)
        or component:find("%./") or component:find("%.lock/")
    if bad then
        err.raise {
            code = "git.invalid_ref", op = op,
            msg = ("%s: '%s' is not a valid tag name"):format(op, name),
            hint = "'git help check-ref-format' lists the rules.",
        }
    end
end

return M
