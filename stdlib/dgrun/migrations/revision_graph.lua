-- What the names of revisions mean in a graph of them: heads, labels, abbreviations, relative
-- steps. It follows alembic/script/revision.py, with its answers and its refusals.
local err = require "dgrun.core.err"
local tables = require "dgrun.core.table"

local M = {}

---Below all revisions, where a walk down ends.
local BASE = {}

---@class dgrun.revision
---@field revision string
---@field down string[]
---@field labels string[]
---@field depends_on string[] as written: ids and labels
---@field message string
---@field file string
---@field line integer
---@field depends string[] ids of depends_on
---@field next string[] ids that have this one in `down`
---@field next_all string[] ids that have this one in `down` or `depends`

---@class dgrun.revisions
---@field dir string
---@field by_id table<string, dgrun.revision>
---@field names table<string, string> ids and labels → id
---@field order string[] ids, each behind what it needs

---@param code string behind "migrations."
---@param text string
---@param hint? string
---@param fields? table
function M.fail(code, text, hint, fields)
    local e = fields or {}
    e.code, e.op, e.msg, e.hint = "migrations." .. code, "migrations", text, hint
    err.raise(e)
end

local fail = M.fail

---Ids of a graph, in its order, that `keep` accepts.
---@param graph dgrun.revisions
---@param keep fun(revision: dgrun.revision): boolean
---@return string[]
function M.select(graph, keep)
    local list = {}
    for _, id in ipairs(graph.order) do
        if keep(graph.by_id[id]) then
            list[#list + 1] = id
        end
    end
    return list
end

---@return string[] # ids that no other revision is built on
function M.heads(graph)
    return M.select(graph, function(revision) return #revision.next == 0 end)
end

---@return string[] # heads that no other revision depends on: what a database can be at
local function real_heads(graph)
    return M.select(graph, function(revision) return #revision.next_all == 0 end)
end

---@return string[] # ids that are built on none
function M.bases(graph)
    return M.select(graph, function(revision) return #revision.down == 0 end)
end

---Ids and all that the named lists of links lead to.
local function reach(graph, ids, links, more_links)
    local set, open = {}, {}
    local function add(list)
        for _, id in ipairs(list) do
            if not set[id] then
                set[id] = true
                open[#open + 1] = id
            end
        end
    end
    add(ids)
    while #open > 0 do
        local revision = graph.by_id[table.remove(open)]
        add(revision[links])
        if more_links then
            add(revision[more_links])
        end
    end
    return set
end

---@return table<string, boolean> # the ids, and what must be applied before them
function M.ancestors(graph, ids)
    return reach(graph, ids, "down", "depends")
end

---@return table<string, boolean> # the ids, and what must be undone before them
local function descendants(graph, ids)
    return reach(graph, ids, "next_all")
end

---The ids in one line with `id`, before and behind it; dependencies make no line.
local function line_of(graph, id)
    local set = reach(graph, { id }, "down")
    for other in pairs(reach(graph, { id }, "next")) do
        set[other] = true
    end
    return set
end

local function multiple_heads(heads, argument)
    fail("multiple_heads", ("the revisions have %d heads: %s"):format(#heads,
        table.concat(heads, ", ")),
        ("Merge them (alembic merge heads), or use target = \"heads\" instead of \"%s\".")
            :format(argument), { heads = heads })
end

local function unknown(name)
    fail("unknown_revision", ("no file declares the revision %s"):format(name), nil,
        { revision = name })
end

---The keys of graph.names that begin with text. As Alembic's: keys of three characters are never
---found by their beginning.
local function beginning_with(graph, text)
    local found = {}
    for name in pairs(graph.names) do
        if #name > 3 and name:sub(1, #text) == text then
            found[#found + 1] = name
        end
    end
    table.sort(found)
    return found
end

local function branch_id(graph, label)
    local ok, id = pcall(M.id_of, graph, label)
    if not ok and not id.code then
        error(id, 0)
    elseif not ok then
        fail("unknown_revision", ("no branch %s"):format(label), nil,
            { revision = label })
    end
    return id
end

---The id that an id, a label or the beginning of one names; it must be on the branch.
---@param graph dgrun.revisions
---@param name string
---@param branch? string label or id
---@return string
function M.id_of(graph, name, branch)
    local branch_point = branch and branch_id(graph, branch)
    local id = graph.names[name]
    if not id then
        local found = name ~= "" and beginning_with(graph, name) or {}
        if branch then
            found = M.on_branch(graph, found, branch)
        end
        if #found == 0 then
            unknown(name)
        elseif #found > 1 then
            fail("ambiguous_revision", ("%s is an ambiguous prefix of %s"):format(name,
                table.concat(found, " and of ")), nil, { revision = name })
        end
        id = graph.names[found[1]]
    end
    if branch_point and not line_of(graph, id)[branch_point] then
        fail("wrong_branch", ("the revision %s is not on the branch %s"):format(id, branch), nil,
            { revision = id })
    end
    return id
end

---What a target without steps names: ids, and the branch in front of "@".
---@return string[] names none for "base"
---@return string? branch
local function split(graph, target)
    local branch, name = target:match("^([^@]*)@(.*)$")
    name = name or target
    if branch == "" then
        branch = nil
    end
    if name == "heads" then
        if branch then
            return M.on_branch(graph, M.heads(graph), branch), branch
        end
        return real_heads(graph)
    elseif name == "head" then
        local heads = M.heads(graph)
        if branch then
            heads = M.on_branch(graph, heads, branch)
        end
        if #heads > 1 then
            multiple_heads(heads, target)
        end
        return heads, branch
    elseif name == "base" then
        return {}, branch
    end
    return { name }, branch
end

---Those of some ids or labels that are in one line with a branch.
---@param graph dgrun.revisions
---@param names string[]
---@param branch string
---@return string[]
function M.on_branch(graph, names, branch)
    local wanted, label = split(graph, branch)
    wanted[#wanted + 1] = label
    if #wanted == 0 then
        return names
    end
    local kept = {}
    for _, name in ipairs(names) do
        local line, is_on = line_of(graph, M.id_of(graph, name)), false
        for _, other in ipairs(wanted) do
            is_on = is_on or line[M.id_of(graph, other)]
        end
        if is_on then
            kept[#kept + 1] = name
        end
    end
    return kept
end

---@return string[] # ids; none for "base"
local function ids_of(graph, target)
    local names, branch = split(graph, target)
    local ids = {}
    for i, name in ipairs(names) do
        ids[i] = M.id_of(graph, name, branch)
    end
    return ids
end

---@return string? # the one id; nil for "base"
local function one_id(graph, target)
    local names, branch = split(graph, target)
    if #names > 1 then
        multiple_heads(names, target)
    elseif #names == 1 then
        return M.id_of(graph, names[1], branch)
    elseif branch then
        branch_id(graph, branch)
    end
end

---[branch@][name]±n. What follows the digits is ignored, as Alembic's pattern does.
---@return {branch?: string, name?: string, steps: integer}?
local function relative(target)
    local function rest(text, branch)
        local name, steps = text:match("^([%w_\128-\255]*)([+-]%d+)")
        return steps and { branch = branch, name = name ~= "" and name or nil,
            steps = tonumber(steps) }
    end
    local at = target:find("@", 2, true)
    while at do
        local found = rest(target:sub(at + 1), target:sub(1, at - 1))
        if found then
            return found
        end
        at = target:find("@", at + 1, true)
    end
    return rest(target)
end

local function too_far(target)
    fail("too_far", ("%s leads past the existing revisions"):format(target), nil,
        { target = target })
end

local function ambiguous_walk(target, ids)
    fail("ambiguous_walk", ("%s could start or continue at %s"):format(target,
        table.concat(ids, " or ")), "Give an id, or put branch@ before the target.",
        { target = target })
end

local function next_up(graph, at, branch)
    local ids = at and graph.by_id[at].next or M.bases(graph)
    return branch and M.on_branch(graph, ids, branch) or ids
end

local function next_down(graph, at)
    if at == BASE then
        return {}
    end
    local ids = at and graph.by_id[at].down or M.heads(graph)
    return #ids > 0 and ids or { BASE }
end

---@param from string? nil: below the bases, or above the heads
---@return string|table|nil # id or BASE; nil: too far
local function walk(graph, from, step, target)
    local at = from
    for _ = 1, math.abs(step.steps) do
        local ids = step.steps > 0 and next_up(graph, at, step.branch) or next_down(graph, at)
        if #ids == 0 then
            return nil
        elseif #ids > 1 then
            ambiguous_walk(target, ids)
        end
        at = ids[1]
    end
    return at
end

local function joined(branch, name)
    return branch and branch .. "@" .. name or name
end

---What of depends an ancestor does not depend on already.
local function own_depends(graph, id)
    local kept, list = {}, {}
    for _, other in ipairs(graph.by_id[id].depends) do
        kept[other] = true
    end
    for ancestor in pairs(reach(graph, { id }, "down")) do
        for _, other in ipairs(ancestor ~= id and graph.by_id[ancestor].depends or {}) do
            kept[other] = nil
        end
    end
    for other in pairs(kept) do
        list[#list + 1] = other
    end
    return list
end

---The tips of what is applied on a branch.
local function tips(graph, current, branch)
    local active = M.on_branch(graph, tables.keys(M.ancestors(graph, current)), branch)
    local covered, list = {}, {}
    for _, id in ipairs(active) do
        for _, links in ipairs { graph.by_id[id].down, own_depends(graph, id) } do
            for _, below in ipairs(links) do
                covered[below] = true
            end
        end
    end
    for _, id in ipairs(active) do
        if not covered[id] then
            list[#list + 1] = id
        end
    end
    return list
end

---Where a walk up without a name starts; nil: below the bases.
local function start_of_upgrade(graph, current, step, target)
    local starts = current
    if step.branch then
        starts = M.on_branch(graph, current, step.branch)
        if #starts == 0 then
            starts = tips(graph, current, step.branch)
        end
    end
    if #starts > 1 then
        ambiguous_walk(target, starts)
    end
    return starts[1]
end

---@param graph dgrun.revisions
---@param current string[]? nil: not known, so that no target may count from it
---@param target string
---@return string[] ids
function M.upgrade_targets(graph, current, target)
    local step = relative(target)
    if not step then
        return ids_of(graph, target)
    elseif not step.name and not current then
        fail("relative_target", target .. " counts from the database's revision, which is not "
            .. "known here", "Give an id.", { target = target })
    end
    local from
    if step.name then
        from = one_id(graph, step.steps > 0 and step.name or joined(step.branch, step.name))
    elseif step.steps > 0 then
        from = start_of_upgrade(graph, current, step, target)
    else
        too_far(target)
    end
    local id = walk(graph, from, step, target)
    if not id or id == BASE then
        too_far(target)
    end
    return { id }
end

---Where a walk down without a name starts.
---@return string name
---@return string branch
local function start_of_downgrade(graph, current, step, target)
    local starts = current
    if step.branch then
        starts = M.on_branch(graph, current, step.branch)
        if #starts == 0 then
            local active = M.ancestors(graph, current)
            starts = M.on_branch(graph, M.select(graph, function(revision)
                local is_tip = active[revision.revision]
                for _, id in ipairs(revision.next) do
                    is_tip = is_tip and not active[id]
                end
                return is_tip
            end), step.branch)
        end
    end
    if #starts > 1 then
        -- Alembic warns, and takes the row that the database happens to give first.
        ambiguous_walk(target, starts)
    elseif #starts == 0 then
        too_far(target)
    end
    return starts[1], step.branch or starts[1]
end

---@return string? id nil: base
---@return string? branch
local function downgrade_target(graph, current, target)
    local step = relative(target)
    if not step then
        local branch, name = target:match("^(.*)@([^@]*)$")
        return one_id(graph, name or target), branch ~= "" and branch or nil
    end
    local name, branch = step.name, step.branch
    local from
    if step.steps >= 0 then
        if not name then
            too_far(target)
        end
        from = one_id(graph, name)
    else
        if not name then
            name, branch = start_of_downgrade(graph, current, step, target)
        end
        from = one_id(graph, joined(branch, name))
    end
    local id = walk(graph, from, step, target)
    if not id then
        too_far(target)
    end
    return id ~= BASE and id or nil, branch
end

---Those of some ids that a branch is built on.
local function below_branch(graph, ids, branch, target)
    local below, kept = reach(graph, { branch_id(graph, branch) }, "down"), {}
    for _, id in ipairs(ids) do
        if below[id] then
            kept[#kept + 1] = id
        end
    end
    if #kept == 0 then
        fail("not_ancestor", target .. " is not below the database's revision", nil,
            { target = target })
    end
    return kept
end

---What a downgrade undoes.
---@param graph dgrun.revisions
---@param current string[]
---@param target string
---@return table<string, boolean> # ids
function M.downgrade_set(graph, current, target)
    local goal, branch = downgrade_target(graph, current, target)
    local roots = goal and graph.by_id[goal].next or M.bases(graph)
    -- Alembic looks at the branch where it sees several roots, and sees a labelled base twice.
    local is_checked = #roots > 1
        or not goal and #roots == 1 and #graph.by_id[roots[1]].labels > 0
    if branch and is_checked then
        roots = below_branch(graph, roots, branch, target)
    end
    local active, set = M.ancestors(graph, current), {}
    for id in pairs(descendants(graph, roots)) do
        set[id] = active[id]
    end
    local is_current = not goal
    for _, id in ipairs(current) do
        is_current = is_current or id == goal
    end
    if not is_current and next(set) == nil then
        fail("not_ancestor", target .. " is not below the database's revision", nil,
            { target = target })
    end
    return set
end

---What a revision is applied on, as Alembic walks it: down_revision in the order of the file, then
---the dependencies that no ancestor has already.
local function steps_down(graph, id)
    local revision = graph.by_id[id]
    if #revision.depends == 0 then
        return revision.down
    end
    local known, steps = {}, {}
    for other in pairs(reach(graph, { id }, "down")) do
        for _, dependency in ipairs(other ~= id and graph.by_id[other].depends or {}) do
            known[dependency] = true
        end
    end
    for _, list in ipairs { revision.down, revision.depends } do
        for _, below in ipairs(list) do
            if not known[below] or list == revision.down then
                known[below] = true
                steps[#steps + 1] = below
            end
        end
    end
    return steps
end

---Some revisions in the order in which Alembic applies them. It walks down from the heads, on one
---branch as far as it can: RevisionMap._topological_sort of alembic/script/revision.py. Heads that
---nothing else orders come in the order in which Alembic reads their files (revisions.read).
---@param graph dgrun.revisions
---@param set table<string, boolean> ids
---@param targets string[] that they lead to
---@return string[] ids
function M.in_order(graph, set, targets)
    local heads, ancestors, is_head = {}, {}, {}
    for _, id in ipairs(targets) do
        if set[id] and not is_head[id] then
            heads[#heads + 1], is_head[id] = id, true
        end
    end
    table.sort(heads, function(a, b) return graph.place[a] < graph.place[b] end)
    for i, id in ipairs(heads) do
        ancestors[i] = M.ancestors(graph, { id })
    end
    local todo, output, at = {}, {}, 1
    for id in pairs(set) do
        todo[id] = true
    end
    local function above(id)
        for i = 1, #heads do
            if i ~= at and ancestors[i][id] then
                return i
            end
        end
    end
    while #heads > 0 do
        local id = heads[at]
        local other = above(id)
        if other then
            at = other
        else
            if todo[id] then
                output[#output + 1], todo[id] = id, nil
            end
            local added = {}
            for _, below in ipairs(steps_down(graph, id)) do
                if todo[below] and not is_head[below] then
                    added[#added + 1] = below
                end
            end
            is_head[id] = nil
            if #added == 0 then
                table.remove(heads, at)
                table.remove(ancestors, at)
                at = math.max(at - 1, 1)
            else
                heads[at], is_head[added[1]] = added[1], true
                ancestors[at] = M.ancestors(graph, { added[1] })
                for i = 2, #added do
                    heads[#heads + 1], is_head[added[i]] = added[i], true
                    ancestors[#heads] = M.ancestors(graph, { added[i] })
                end
            end
        end
    end
    local list = {}
    for i = #output, 1, -1 do
        list[#list + 1] = output[i]
    end
    return list
end

---Refuses ids of which one needs another: no database is at both.
---@param graph dgrun.revisions
---@param ids string[]
function M.check_overlap(graph, ids)
    for _, id in ipairs(ids) do
        local before = M.ancestors(graph, { id })
        for _, other in ipairs(ids) do
            if other ~= id and before[other] then
                fail("overlap", ("the revision %s includes %s: they cannot be requested together")
                    :format(id, other), nil, { revisions = { id, other } })
            end
        end
    end
end

return M
