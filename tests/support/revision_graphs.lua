-- Revision graphs by chance, the same for the same seed, as folders that Alembic reads.
local fs = require "host.fs"

local M = {}

---Numbers by chance that are the same on every machine (Park and Miller).
local function chance(seed)
    local state = seed * 7919 % 2147483646 + 1
    return function(n)
        state = state * 16807 % 2147483647
        return state % n + 1
    end
end

local function pick(random, list)
    return list[random(#list)]
end

local function heads_of(nodes)
    local has_child, heads = {}, {}
    for _, node in ipairs(nodes) do
        for _, below in ipairs(node.down) do
            has_child[below] = true
        end
    end
    for _, node in ipairs(nodes) do
        if not has_child[node.id] then
            heads[#heads + 1] = node.id
        end
    end
    return heads
end

---Some graphs have ids with the same beginnings, some very short ones.
local function new_id(random, style, i)
    if style == 1 then
        return ("abcd%02x%02x"):format(random(3), i)
    elseif style == 2 then
        return ("r%02d"):format(i)
    end
    return ("%04x%04x%02x"):format(random(65535), random(65535), i)
end

local function down_of(random, nodes)
    local kind = random(20)
    if #nodes == 0 or kind <= 2 then
        return {}
    elseif kind <= 7 then
        return { pick(random, nodes).id }
    elseif kind > 12 and kind <= 17 then
        local heads, down = heads_of(nodes), {}
        for _ = 1, math.min(#heads, kind >= 16 and 3 or 2) do
            down[#down + 1] = table.remove(heads, random(#heads))
        end
        return down
    end
    return { pick(random, heads_of(nodes)) }
end

local function add_depends(random, nodes, labels, node)
    if #nodes == 0 or random(6) > 1 then
        return
    end
    local other = pick(random, nodes)
    node.depends_on = { other.id }
    node.parents[#node.parents + 1] = other.id
    local label = #labels > 0 and pick(random, labels)
    if label and random(2) == 1 then
        node.depends_on = { label.name }
        node.parents[#node.parents] = label.id
    end
end

local function add_label(random, labels, node, i)
    if random(6) == 1 then
        local name = pick(random, { "side%d", "lb%d", "feature-%d", "abcd_%d" }):format(i)
        node.labels = { name }
        labels[#labels + 1] = { name = name, id = node.id }
    end
end

---@return table[] nodes {id, down, depends_on, labels, parents}
---@return table[] labels {name, id}
local function nodes_of(random)
    local nodes, labels, style = {}, {}, random(4)
    for i = 1, random(18) do
        local node = { id = new_id(random, style, i), down = down_of(random, nodes),
            depends_on = {}, labels = {}, parents = {} }
        for j, id in ipairs(node.down) do
            node.parents[j] = id
        end
        add_depends(random, nodes, labels, node)
        add_label(random, labels, node, i)
        nodes[i] = node
    end
    return nodes, labels
end

local function quoted(list)
    local texts = {}
    for i, item in ipairs(list) do
        texts[i] = ("'%s'"):format(item)
    end
    return texts
end

---A value as Alembic's template, formatters and people write it.
local function value(random, list)
    local texts = quoted(list)
    if #texts == 0 then
        return pick(random, { "None", "()", "(None)" })
    elseif #texts == 1 and random(2) == 1 then
        return texts[1]
    end
    return pick(random, { "(%s,)", "(\n    %s,  # why\n)", "[%s]" }):format(
        table.concat(texts, ", "))
end

local function text_of(random, node)
    local text = ([[
"""A revision

revision = "not this"
"""
from typing import Sequence, Union

revision%s = %s
down_revision%s = %s
branch_labels = %s
depends_on = %s


def upgrade():
    pass


def downgrade():
    pass
]]):format(pick(random, { "", ": str" }), ("%q"):format(node.id),
        pick(random, { "", ": Union[str, Sequence[str], None]" }), value(random, node.down),
        value(random, node.labels), value(random, node.depends_on))
    return random(5) == 1 and text:gsub("\n", "\r\n") or text
end

local function write(random, dir, nodes)
    local places = pick(random, { { "migrations/versions" }, { "migrations/versions" },
        { "migrations/versions", "more", "gone" } })
    local ini = "[alembic]\nscript_location = %(here)s/migrations\n"
    if #places > 1 then
        ini = ini .. "version_path_separator = os\n"
            .. "version_locations = %(here)s/migrations/versions:%(here)s/more:%(here)s/gone\n"
    end
    for i, place in ipairs(places) do
        if i < 3 then
            assert(fs.mkdir(dir / place, { parents = true }))
        end
    end
    assert(fs.write(dir / "alembic.ini", ini))
    for _, node in ipairs(nodes) do
        local place = places[random(math.min(#places, 2))]
        assert(fs.write(dir / place / node.id .. "_x.py", (text_of(random, node))))
    end
end

---What a database can be at: the tips of some revisions and all that is below them.
local function state_of(random, nodes)
    local by_id, applied, covered, list = {}, {}, {}, {}
    for _, node in ipairs(nodes) do
        by_id[node.id] = node
    end
    local function apply(id)
        applied[id] = true
        for _, below in ipairs(by_id[id].parents) do
            covered[below] = true
            apply(below)
        end
    end
    for _ = 1, random(4) - 1 do
        apply(pick(random, nodes).id)
    end
    for _, node in ipairs(nodes) do
        if applied[node.id] and not covered[node.id] then
            list[#list + 1] = node.id
        end
    end
    return list
end

local function target_of(random, nodes, labels, forms)
    local id = pick(random, nodes).id
    local label = #labels > 0 and random(8) > 1 and pick(random, labels).name or id
    local fields = { id = id, label = label, part = id:sub(1, random(#id)), n = random(3) }
    return (pick(random, forms):gsub("<(%w+)>", fields))
end

local up = { "head", "heads", "<id>", "<part>", "<label>", "<label>@head", "<label>@heads",
    "<label>@<id>", "<label>@<part>", "+1", "+2", "<id>+1", "<id>-1", "<part>+<n>", "<label>@+<n>",
    "<label>@<id>+1", "<label>@head-1", "head-1", "heads-<n>", "base+<n>", "base", "zzzz",
    "zz@head", "<id>+0", "-1", "+0", "<label>@<label>", "@head", "@<id>", "heads@head",
    "head@<id>" }
local down = { "base", "-1", "-2", "<id>", "<part>", "<label>@base", "<label>@-1", "<label>@<id>",
    "<label>", "<id>-1", "<id>+1", "head-1", "head", "heads", "zzzz", "zz@base", "zz@-1", "+1",
    "base+1", "<label>@<id>-1", "<label>@base+1", "-0", "@base", "<label>@head-<n>" }

local function questions(random, nodes, labels, forms, count)
    local list = {}
    for i = 1, count do
        local current = state_of(random, nodes)
        local extra = pick(random, nodes).id
        -- One more that the others include, perhaps; never one twice: it is the key.
        if random(25) == 1 and not table.concat(current, " "):find(extra, 1, true) then
            current[#current + 1] = extra
        end
        list[i] = { require("dgrun.core.json").array(current),
            target_of(random, nodes, labels, forms) }
    end
    return list
end

---Writes a graph into a folder.
---@param dir string
---@param seed integer
---@return {dir: string, nodes: table[], upgrades: table[], downgrades: table[]}
function M.write(dir, seed)
    local random = chance(seed)
    local nodes, labels = nodes_of(random)
    write(random, dir, nodes)
    return {
        dir = dir, nodes = nodes,
        upgrades = questions(random, nodes, labels, up, 24),
        downgrades = questions(random, nodes, labels, down, 16),
    }
end

return M
