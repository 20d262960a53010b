-- The revision graph of an application's Alembic folder, from its files alone.
local alembic_ini = require "dgrun.migrations.alembic_ini"
local check = require "dgrun.core.check"
local fs = require "host.fs"
local links = require "dgrun.migrations.revision_graph"
local migrations = require "host.migrations"
local python = require "dgrun.project.python"

local M = {}

local FILE_LIMIT = 1024 * 1024

local fail = links.fail

local function add_name(graph, name, id)
    local other = graph.names[name]
    if other then
        fail("duplicate_label", ("the branch label %s of %s names %s already"):format(name, id,
            other), "Give the branch another label.")
    end
    graph.names[name] = id
end

local function add(graph, found)
    local id, path = found.revision, found.file
    local other = graph.by_id[id]
    if other then
        fail("duplicate_revision", ("the revision %s is declared in both %s and %s"):format(
            id, other.file, path), "Give one of the revisions another id.")
    elseif id:find("[@+-]") then
        fail("invalid_revision", ("%s:%d: the revision %s has one of @ + -"):format(path,
            found.line, id))
    end
    found.depends, found.next, found.next_all = {}, {}, {}
    graph.by_id[id] = found
    graph.order[#graph.order + 1] = id
end

local function missing(revision, name, id)
    fail("missing_" .. name, ("%s:%d: its %s %s is in no file"):format(revision.file,
        revision.line, name, id))
end

local function contains(list, wanted)
    for _, item in ipairs(list) do
        if item == wanted then
            return true
        end
    end
    return false
end

---Fills in what depends_on means, and the links upwards.
local function link(graph)
    table.sort(graph.order)
    for _, id in ipairs(graph.order) do
        graph.names[id] = id
    end
    for _, id in ipairs(graph.order) do
        for _, label in ipairs(graph.by_id[id].labels) do
            add_name(graph, label, id)
        end
    end
    for _, id in ipairs(graph.order) do
        local revision = graph.by_id[id]
        for _, below in ipairs(revision.down) do
            local parent = graph.by_id[below] or missing(revision, "down_revision", below)
            table.insert(parent.next, id)
            table.insert(parent.next_all, id)
        end
        for i, name in ipairs(revision.depends_on) do
            -- Alembic takes whole ids and labels here, no abbreviations.
            local other = graph.names[name] or missing(revision, "depends_on", name)
            revision.depends[i] = other
            if not contains(revision.down, other) then
                table.insert(graph.by_id[other].next_all, id)
            end
        end
    end
end

---Parents of a revision: what must be applied before it, sorted.
local function parents(revision)
    local list = {}
    for _, ids in ipairs { revision.down, revision.depends } do
        for _, id in ipairs(ids) do
            list[#list + 1] = id
        end
    end
    table.sort(list)
    return list
end

---Puts each revision behind its parents; ids break ties. Without recursion: a chain may be longer
---than the stack.
local function sort(graph)
    local state, order = {}, {}
    local open = {}
    local function enter(id)
        if state[id] == "open" then
            fail("cycle", ("the revisions form a cycle at %s (%s)"):format(id,
                graph.by_id[id].file))
        elseif not state[id] then
            state[id] = "open"
            open[#open + 1] = { id = id, parents = parents(graph.by_id[id]), at = 0 }
        end
    end
    for _, id in ipairs(graph.order) do
        enter(id)
        while #open > 0 do
            local top = open[#open]
            top.at = top.at + 1
            if top.parents[top.at] then
                enter(top.parents[top.at])
            else
                state[top.id] = "done"
                order[#order + 1] = top.id
                open[#open] = nil
            end
        end
    end
    graph.order = order
end

---The names of revision files, by Alembic's rules.
local function names_in(folder)
    local names = {}
    for _, name in ipairs(check(fs.list(folder))) do
        if name:match("%.py$") and not name:match("^%.#") and not name:match("^__init__") then
            names[#names + 1] = name
        end
    end
    return names
end

---Alembic reads the files sorted by name since 1.10, before that as os.listdir has them.
local function reads_sorted(dir)
    local major, minor = (python.version_of(dir, "alembic") or ""):match "^(%d+)%.(%d+)"
    return not major or tonumber(major) > 1 or tonumber(minor) >= 10
end

---The place of each file in its folder, in the order in which Alembic reads them.
local function places_in(folder, before, is_sorted)
    local places = {}
    for i, name in ipairs(check(fs.list(folder, not is_sorted and "unsorted" or nil))) do
        places[folder / name] = before + i
    end
    return places
end

---@param dir string folder with alembic.ini
---@return dgrun.revisions
function M.read(dir)
    local graph = { dir = dir, by_id = {}, names = {}, order = {}, place = {} }
    local read = migrations.read
    local count, is_sorted = 0, reads_sorted(dir)
    for _, folder in ipairs(alembic_ini.folders(dir)) do
        local names, places = names_in(folder), places_in(folder, count, is_sorted)
        count = count + #names
        for i, found in ipairs(check(read { folder = folder, names = names,
            limit = FILE_LIMIT })) do
            if not found then
                fail("no_revision", ("%s declares no revision"):format(folder / names[i]),
                    "Alembic treats each .py file in the folder as a revision.")
            end
            add(graph, found)
            graph.place[found.revision] = places[folder / names[i]]
        end
    end
    link(graph)
    sort(graph)
    return graph
end

---A whole id for an id, a branch label, or the beginning of one. Raises
---migrations.unknown_revision when there is none.
---@param graph dgrun.revisions
---@param text string
---@return string
function M.find(graph, text)
    return links.id_of(graph, text)
end

---@param graph dgrun.revisions
---@return string[] # ids that no other revision is built on
function M.heads(graph)
    return links.heads(graph)
end

---@param graph dgrun.revisions
---@return string[] # ids that are built on none
function M.bases(graph)
    return links.bases(graph)
end

---@param graph dgrun.revisions
---@return string[] # ids that more than one revision is built on
function M.branches(graph)
    return links.select(graph, function(revision) return #revision.next > 1 end)
end

---@param graph dgrun.revisions
---@return string[] # all ids, the newest first
function M.history(graph)
    local list = {}
    for i = #graph.order, 1, -1 do
        list[#list + 1] = graph.order[i]
    end
    return list
end

---@param graph dgrun.revisions
---@param target string what `alembic upgrade` takes: "head", "heads", an id or its beginning, a
---branch label, label@head, +2, id+1
---@param current? string[] revisions in the database; +2 counts from there
---@return string[] ids
function M.targets(graph, target, current)
    return links.upgrade_targets(graph, current, target)
end

local function check_current(graph, current)
    for _, id in ipairs(current) do
        if not graph.by_id[id] then
            fail("unknown_revision", ("the database is at the revision %s, which no file here "
                .. "declares"):format(id), "Is this checkout older than what the database has "
                .. "seen? Deploy a newer ref.", { revision = id })
        end
    end
end

local function in_order(graph, set, targets)
    local list = {}
    for i, id in ipairs(links.in_order(graph, set, targets)) do
        list[i] = graph.by_id[id]
    end
    return list
end

---What some revisions need and others do not, in order.
---@param graph dgrun.revisions
---@param below string[] ids
---@param above string[] ids
---@return dgrun.revision[]
function M.between(graph, below, above)
    check_current(graph, below)
    local wanted = links.ancestors(graph, above)
    for id in pairs(links.ancestors(graph, below)) do
        wanted[id] = nil
    end
    return in_order(graph, wanted, above)
end

---What an upgrade from `current` to `target` applies, in order.
---@param graph dgrun.revisions
---@param current string[] revisions in the database, or heads of other files
---@param target string
---@return dgrun.revision[]
function M.pending(graph, current, target)
    check_current(graph, current)
    local targets = M.targets(graph, target, current)
    links.check_overlap(graph, targets)
    return M.between(graph, current, targets)
end

---What a downgrade from `current` to `target` undoes, in order.
---@param graph dgrun.revisions
---@param current string[] revisions in the database
---@param target string what `alembic downgrade` takes: "base", an id or its beginning, -1, id-1
---@return dgrun.revision[]
function M.downgrade_path(graph, current, target)
    check_current(graph, current)
    local list, path = in_order(graph, links.downgrade_set(graph, current, target), current), {}
    for i = #list, 1, -1 do
        path[#path + 1] = list[i]
    end
    return path
end

return M
