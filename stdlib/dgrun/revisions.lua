-- The revision graph of an application's Alembic folder, from its files alone.
local check = require "dgrun.check"
local err = require "dgrun.err"
local fs = require "host.fs"

local M = {}

local FILE_LIMIT = 1024 * 1024

---@class dgrun.revision
---@field revision string
---@field down string[]
---@field labels string[]
---@field depends_on string[]
---@field message string
---@field file string
---@field line integer

---@class dgrun.revisions
---@field dir string
---@field by_id table<string, dgrun.revision>
---@field order string[] ids, sorted

local function fail(code, text, hint, fields)
    local e = fields or {}
    e.code, e.op, e.msg, e.hint = "migrations." .. code, "migrations", text, hint
    err.raise(e)
end

---The settings of [alembic] in alembic.ini, with %(here)s.
local function read_ini(dir)
    local path = dir / "alembic.ini"
    local text = fs.read(path, { limit = FILE_LIMIT })
    if not text then
        fail("no_alembic_ini", ("there is no alembic.ini in %s"):format(dir),
            "`dir` is the folder of the application that holds alembic.ini.")
    end
    local settings, section = {}, nil
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        section = line:match("^%[([^%]]+)%]") or section
        local name, value = line:match("^([%w_.]+)%s*[=:]%s*(.-)%s*$")
        if name and section == "alembic" then
            settings[name] = value:gsub("%%%(here%)s", (dir:gsub("%%", "%%%%")))
        end
    end
    return settings
end

---The folders that hold revision files.
local function version_folders(dir)
    local settings = read_ini(dir)
    local script = settings.script_location
    if not script or script == "" then
        fail("no_script_location", dir / "alembic.ini" .. " has no script_location")
    end
    local locations = settings.version_locations
    if not locations or locations == "" then
        return { dir / script / "versions" }
    end
    local separators = { os = ":", space = "%s", [":"] = ":", [";"] = ";" }
    local separator = separators[settings.version_path_separator or ""] or "%s,"
    local folders = {}
    for location in locations:gmatch("[^" .. separator .. "]+") do
        folders[#folders + 1] = dir / location
    end
    return folders
end

local function add(graph, path, found)
    local other = graph.by_id[found.revision]
    if other then
        fail("duplicate_revision", ("the revision %s is declared in %s and in %s"):format(
            found.revision, other.file, path), "Give one of them another id.")
    end
    found.file = path
    graph.by_id[found.revision] = found
    graph.order[#graph.order + 1] = found.revision
end

local function check_links(graph)
    for _, id in ipairs(graph.order) do
        local revision = graph.by_id[id]
        for _, parent in ipairs(revision.down) do
            if not graph.by_id[parent] then
                fail("missing_down_revision", ("%s:%d: its down_revision %s is in no file"):format(
                    revision.file, revision.line, parent))
            end
        end
    end
end

---Parents of a revision: what must be applied before it.
local function parents(graph, id)
    local revision, list = graph.by_id[id], {}
    for _, parent in ipairs(revision.down) do
        list[#list + 1] = parent
    end
    for _, other in ipairs(revision.depends_on) do
        list[#list + 1] = M.find(graph, other)
    end
    return list
end

---Revisions so that each stands behind its parents; ids break ties.
local function sorted(graph)
    local state, order = {}, {}
    local function visit(id)
        if state[id] == "done" then
            return
        elseif state[id] then
            fail("cycle", ("the revisions run in a circle at %s (%s)"):format(id,
                graph.by_id[id].file))
        end
        state[id] = "open"
        local before = parents(graph, id)
        table.sort(before)
        for _, parent in ipairs(before) do
            visit(parent)
        end
        state[id] = "done"
        order[#order + 1] = id
    end
    table.sort(graph.order)
    for _, id in ipairs(graph.order) do
        visit(id)
    end
    return order
end

---@param dir string folder with alembic.ini
---@return dgrun.revisions
function M.read(dir)
    local graph = { dir = dir, by_id = {}, order = {} }
    for _, folder in ipairs(version_folders(dir)) do
        for _, name in ipairs(check(fs.list(folder))) do
            if name:match("%.py$") then
                local text = check(fs.read(folder / name, { limit = FILE_LIMIT }))
                local found, e = require("host.migrations").scan(text, folder / name)
                if found == nil then
                    err.raise(e)
                elseif found then
                    add(graph, folder / name, found)
                end
            end
        end
    end
    check_links(graph)
    graph.order = sorted(graph)
    return graph
end

---A whole id for an id, the beginning of one, or a branch label; nil when there is none.
---@param graph dgrun.revisions
---@param text string
---@return string?
function M.lookup(graph, text)
    if graph.by_id[text] then
        return text
    end
    local found
    for _, id in ipairs(graph.order) do
        if #text >= 4 and id:sub(1, #text) == text then
            if found then
                fail("ambiguous_revision", ("%s is the beginning of %s and of %s"):format(text,
                    found, id))
            end
            found = id
        end
    end
    for _, id in ipairs(graph.order) do
        for _, label in ipairs(graph.by_id[id].labels) do
            if label == text then
                return id
            end
        end
    end
    return found
end

---As lookup; raises when there is none.
function M.find(graph, text)
    return M.lookup(graph, text) or fail("unknown_revision",
        ("no file declares the revision %s"):format(text), nil, { revision = text })
end

---@param graph dgrun.revisions
---@return string[] # ids that no other revision is built on
function M.heads(graph)
    local has_child, heads = {}, {}
    for _, id in ipairs(graph.order) do
        for _, parent in ipairs(graph.by_id[id].down) do
            has_child[parent] = true
        end
    end
    for _, id in ipairs(graph.order) do
        if not has_child[id] then
            heads[#heads + 1] = id
        end
    end
    return heads
end

---Adds ids and all that comes before them to a set.
local function add_ancestors(graph, ids, set)
    for _, id in ipairs(ids) do
        if not set[id] then
            set[id] = true
            add_ancestors(graph, parents(graph, id), set)
        end
    end
    return set
end

---@param graph dgrun.revisions
---@param target string "head", "heads", an id, its beginning or a branch label
---@return string[] ids
function M.targets(graph, target)
    local heads = M.heads(graph)
    if target == "heads" then
        return heads
    elseif target == "head" then
        if #heads > 1 then
            fail("multiple_heads", ("the revisions have %d heads: %s"):format(#heads,
                table.concat(heads, ", ")),
                "Merge them (alembic merge heads), or say target = \"heads\".", { heads = heads })
        end
        return heads
    end
    local label = target:match("^(.+)@heads?$")
    return { M.find(graph, label or target) }
end

---What an upgrade from `current` to `target` applies, in order.
---@param graph dgrun.revisions
---@param current string[] revisions in the database
---@param target string
---@return dgrun.revision[]
function M.pending(graph, current, target)
    for _, id in ipairs(current) do
        if not graph.by_id[id] then
            fail("unknown_revision", ("the database is at the revision %s, which no file here "
                .. "declares"):format(id), "Is this checkout older than what the database has "
                .. "seen? Deploy a newer ref.", { revision = id })
        end
    end
    local applied = add_ancestors(graph, current, {})
    local wanted = add_ancestors(graph, M.targets(graph, target), {})
    local list = {}
    for _, id in ipairs(graph.order) do
        if wanted[id] and not applied[id] then
            list[#list + 1] = graph.by_id[id]
        end
    end
    return list
end

return M
