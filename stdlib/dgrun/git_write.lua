-- The changes of dgrun.git: fetch, tag, push. Each looks first whether there is anything to do.
local check = require "dgrun.core.check"
local effect = require "dgrun.run.effect"
local err = require "dgrun.core.err"
local host = require "host.git"
local refs = require "dgrun.git_refs"
local tables = require "dgrun.core.table"

local M = {}

---The user's own ssh command from git's configuration; batch mode is added to it.
local function ssh_command(dir)
    if not os.getenv "GIT_SSH_COMMAND" then
        return check(host.config { dir = dir, name = "core.sshCommand" })
    end
end

local function local_refs(dir)
    local known = {}
    for _, one in ipairs(check(host.refs { dir = dir })) do
        known[one.name] = one.commit
    end
    return known
end

local function differences(before, after)
    local list = {}
    for _, name in ipairs(tables.keys(before, after)) do
        if before[name] ~= after[name] then
            list[#list + 1] = { name = name, before = before[name], after = after[name] }
        end
    end
    return list
end

---The refs that a plain fetch would change: branches of the remote, and tags that are missing.
local function pending(dir, remote, ssh, timeout, prune)
    local there = check(host.remote_refs {
        dir = dir, remote = remote, ssh_command = ssh, timeout = timeout,
    })
    local here, before, after = local_refs(dir), {}, {}
    for name, commit in pairs(there) do
        local branch = name:match("^refs/heads/(.+)$")
        local own = branch and ("refs/remotes/%s/%s"):format(remote, branch)
            or name:match("^refs/tags/.+$")
        if own and (branch or not here[own]) then
            before[own], after[own] = here[own], commit
        end
    end
    local prefix = ("refs/remotes/%s/"):format(remote)
    for name, commit in pairs(prune and here or {}) do
        local branch = name:sub(1, #prefix) == prefix and name:sub(#prefix + 1)
        if branch and branch ~= "HEAD" and not there["refs/heads/" .. branch] then
            before[name] = commit
        end
    end
    return differences(before, after)
end

---A remote as it may be shown: its name, or its URL without a password.
local function shown(remote)
    return (remote:gsub("://[^/@]*@", "://***@"))
end

local function states(changes)
    local before, after = {}, {}
    for _, change in ipairs(changes) do
        before[change.name], after[change.name] = change.before, change.after
    end
    return next(before) and before or nil, next(after) and after or nil
end

function M.fetch(opts, timeout)
    check.options(opts, {
        remote = "string?", dir = "string?", refspecs = "table?", depth = "integer?",
        unshallow = "boolean?", prune = "boolean?",
    }, "git.fetch")
    local dir, remote = opts.dir or ".", opts.remote or "origin"
    local ssh = ssh_command(dir)
    local before, after
    if not (opts.refspecs or opts.depth or opts.unshallow) then
        local changes = pending(dir, remote, ssh, timeout, opts.prune)
        if #changes == 0 then
            effect.note(("%s has nothing new"):format(shown(remote)))
            return { updated = {} }
        end
        before, after = states(changes)
    end
    local unshallow = opts.unshallow and check(host.info { dir = dir }).shallow
    return effect.write {
        kind = "git.fetch", target = shown(remote), before = before, after = after,
        summary = ("fetch from %s"):format(shown(remote)),
        apply = function()
            local known = local_refs(dir)
            check(host.fetch {
                dir = dir, remote = remote, refspecs = opts.refspecs, depth = opts.depth,
                unshallow = unshallow, prune = opts.prune, ssh_command = ssh, timeout = timeout,
            })
            return { updated = differences(known, local_refs(dir)) }
        end,
    }
end

local function refuse_moving(op, name, where, has, wanted)
    err.raise {
        code = "git.tag_exists", op = op, commit = has,
        msg = ("%s: the tag '%s' exists%s on commit %s, not on %s"):format(op, name, where,
            has:sub(1, 12), wanted:sub(1, 12)),
        hint = "dgrun never moves an existing tag: choose another name.",
    }
end

function M.tag(opts)
    check.options(opts, {
        name = "string", ref = "string?", message = "string?", dir = "string?",
    }, "git.tag")
    local dir, name = opts.dir or ".", opts.name
    refs.check_tag_name(name, "git.tag")
    local commit = refs.resolve(dir, opts.ref or "HEAD", "origin", "git.tag").commit
    local has = local_refs(dir)["refs/tags/" .. name]
    if has == commit then
        effect.note(("the tag %s already exists"):format(name))
        return { name = name, commit = commit, created = false }
    elseif has then
        refuse_moving("git.tag", name, "", has, commit)
    end
    effect.write {
        kind = "git.tag.create", target = name, after = { name = name, commit = commit },
        summary = ("tag %s as %s"):format(commit:sub(1, 12), name),
        apply = function()
            local ok, e = host.tag {
                dir = dir, name = name, commit = commit, message = opts.message,
            }
            -- Somebody else may have made the same tag meanwhile.
            if not ok and local_refs(dir)["refs/tags/" .. name] ~= commit then
                err.raise(e)
            end
            return { name = name, commit = commit }
        end,
    }
    return { name = name, commit = commit, created = true }
end

---The remote takes a branch only forwards, a tag only once.
local function refuse_rewrite(dir, change)
    local branch = change.name:match("^refs/heads/(.+)$")
    if not branch then
        refuse_moving("git.push", change.name:match("[^/]+$"), " on the remote",
            change.before, change.after)
    end
    local forwards = host.is_ancestor {
        dir = dir, ancestor = change.before, descendant = change.after,
    }
    if not forwards then -- false, or the remote's commit is not known here
        err.raise {
            code = "git.rejected", op = "git.push",
            msg = ("git.push: the remote's branch '%s' has commits that %s lacks"):format(branch,
                change.after:sub(1, 12)),
            hint = "Fetch, then merge or rebase.",
        }
    end
end

---Full name → commit of what is to be pushed.
local function wanted_refs(dir, list, remote)
    local wanted = {}
    for _, ref in ipairs(list) do
        local found = refs.resolve(dir, ref, remote, "git.push")
        local full = ref:find("^refs/heads/") or ref:find("^refs/tags/")
        local name = found.name or full and ref
        if not name or found.kind == "remote_branch" then
            err.raise {
                code = "git.invalid_ref", op = "git.push",
                msg = ("git.push: '%s' is neither a branch nor a tag here"):format(ref),
            }
        end
        wanted[name] = found.commit
    end
    if not next(wanted) then
        err.raise { code = "input.invalid", op = "git.push", msg = "git.push: 'refs' is empty" }
    end
    return wanted
end

---What the remote has of these names now.
local function remote_state(dir, remote, wanted, ssh, timeout)
    local patterns, before = {}, {}
    for name in pairs(wanted) do
        table.insert(patterns, name)
        table.insert(patterns, name .. "^{}")
    end
    local there = check(host.remote_refs {
        dir = dir, remote = remote, patterns = patterns, ssh_command = ssh, timeout = timeout,
    })
    for name in pairs(wanted) do
        before[name] = there[name]
    end
    return before
end

function M.push(opts, timeout)
    check.options(opts, { refs = "table", remote = "string?", dir = "string?" }, "git.push")
    local dir, remote = opts.dir or ".", opts.remote or "origin"
    local ssh = ssh_command(dir)
    local wanted = wanted_refs(dir, opts.refs, remote)
    local changes = differences(remote_state(dir, remote, wanted, ssh, timeout), wanted)
    if #changes == 0 then
        effect.note(("%s is up to date on %s"):format(table.concat(opts.refs, ", "), shown(remote)))
        return {}
    end
    local refspecs = {}
    for i, change in ipairs(changes) do
        if change.before then
            refuse_rewrite(dir, change)
        end
        refspecs[i] = ("%s:%s"):format(change.name, change.name)
    end
    local before, after = states(changes)
    effect.write {
        kind = "git.push", target = shown(remote), before = before, after = after,
        summary = ("push %s to %s"):format(table.concat(opts.refs, ", "), shown(remote)),
        apply = function()
            check(host.push {
                dir = dir, remote = remote, refspecs = refspecs, ssh_command = ssh,
                timeout = timeout,
            })
            return changes
        end,
    }
    return changes
end

return M
