-- dgrun's answers about revision graphs against Alembic's own, on graphs made by chance.
--
-- Heads, bases and branch points are sets in Alembic, and compared as sets. Of a path and of the
-- history, Alembic's order is one of several where branches stand side by side, and depends on the
-- order of os.listdir(): there the same set in a valid order is asked for (each revision behind, or
-- for downgrades before, all it needs), and the same order where each step needs the one before.
-- Refusals are compared by kind; where Alembic dies of an assertion, dgrun must refuse somehow.
-- A downgrade by steps from several revisions, of which Alembic warns that it is ambiguous and then
-- takes any, is refused by dgrun. DGRUN_SEED=n takes other graphs.
local fs = require "host.fs"
local graphs = require "support.revision_graphs"
local json = require "dgrun.core.json"
local matrix = require "support.matrix"
local proc = require "host.proc"
local revision_graph = require "dgrun.migrations.revision_graph"
local revisions = require "dgrun.migrations.revisions"
local time = require "host.time"

---The pending revisions; refuses what Alembic refuses too: a database at a revision and at one that
---it is built on.
local function upgrade_path(graph, current, target)
    local list = revisions.pending(graph, current, target)
    revision_graph.check_overlap(graph, current)
    return list
end

-- Other processes have a part in it: their time does not jump.
before_each(function() time.pause(false) end)

local GRAPHS = matrix.pick(130, 400)
local SEED = tonumber(os.getenv "DGRUN_SEED" or "0")

local function ids(list)
    local found = {}
    for i, revision in ipairs(list) do
        found[i] = revision.revision
    end
    return found
end

local function sorted(list)
    local copy = { unpack(list) }
    table.sort(copy)
    return copy
end

---@return table<string, table<string, boolean>> # id → what it needs, directly
local function needs_of(nodes)
    local needs = {}
    for _, node in ipairs(nodes) do
        needs[node.id] = {}
        for _, id in ipairs(node.parents) do
            needs[node.id][id] = true
        end
    end
    return needs
end

local function needs_deeply(needs, id, other)
    if needs[id][other] then
        return true
    end
    for below in pairs(needs[id]) do
        if needs_deeply(needs, below, other) then
            return true
        end
    end
    return false
end

local function reversed(list)
    local copy = {}
    for i = #list, 1, -1 do
        copy[#copy + 1] = list[i]
    end
    return copy
end

---Both lists have what is needed first in front.
local function same_path(needs, expected, found, text)
    assert.same(sorted(expected), sorted(found), text)
    local is_only = true
    for i = 2, #expected do
        is_only = is_only and needs[expected[i]][expected[i - 1]]
    end
    if is_only then
        assert.same(expected, found, text)
    end
    for i = 1, #found do
        for j = i + 1, #found do
            assert.is_false(needs_deeply(needs, found[i], found[j]), text)
        end
    end
    return is_only and #expected > 1
end

local function ask_alembic(questions)
    local result = assert(proc.run {
        argv = { "/usr/bin/python3", fs.cwd() / "tests/support/revision_graphs.py" },
        stdin = json.encode(questions), limit = 64 * 1024 * 1024,
        env = { PYTHONDONTWRITEBYTECODE = "1", PYTHONWARNINGS = "ignore" },
    })
    assert.equal(0, result.status, result.stderr)
    return json.decode(result.stdout)
end

---Compares the answers to one kind of questions; counts their kinds.
local function compare(graph, kind, ask, order, counts)
    local read, needs = revisions.read(graph.dir), needs_of(graph.nodes)
    for i, question in ipairs(graph[kind]) do
        local current, target = question[1], question[2]
        local expected = graph.answer[kind][i]
        local text = ("%s: %s from {%s} to %s: Alembic says %s"):format(graph.dir, kind,
            table.concat(current, " "), target, json.encode(expected))
        local ok, found = pcall(ask, read, current, target)
        if expected.path then
            assert.is_true(ok, text .. ", dgrun " .. tostring(not ok and found.code or ""))
            local only = same_path(needs, order(expected.path), order(ids(found)), text)
            if kind == "upgrades" then
                assert.same(expected.path, ids(found), text)
            end
            counts.ordered = (counts.ordered or 0) + (only and 1 or 0)
        else
            assert.is_false(ok, text)
            assert.is_string(found.code, text .. ", dgrun " .. tostring(found))
            if expected.kind ~= "crash" then
                assert.equal("migrations." .. expected.kind, found.code, text)
            end
        end
        local name = expected.kind or #expected.path > 0 and "path" or "nothing"
        counts[name] = (counts[name] or 0) + 1
    end
end

local function same(list) return list end

describe("graphs of revisions", function()
    local dir, all

    setup(function()
        dir = assert(fs.temp_dir "graphs")
        all = {}
        local questions = {}
        for seed = 1, GRAPHS do
            all[seed] = graphs.write(dir / tostring(seed), SEED * GRAPHS + seed)
            questions[seed] = { dir = all[seed].dir, upgrades = all[seed].upgrades,
                downgrades = all[seed].downgrades }
        end
        for seed, answer in ipairs(ask_alembic(questions)) do
            assert.is_nil(answer.kind, all[seed].dir .. ": " .. tostring(answer.text))
            all[seed].answer = answer
        end
    end)

    teardown(function()
        fs.remove(dir, { recursive = true })
    end)

    it("have Alembic's heads, bases, branch points and history", function()
        for _, graph in ipairs(all) do
            local read = revisions.read(graph.dir)
            for _, name in ipairs { "heads", "bases", "branches" } do
                assert.same(sorted(graph.answer[name]), sorted(revisions[name](read)), graph.dir)
            end
            same_path(needs_of(graph.nodes), reversed(graph.answer.history),
                reversed(revisions.history(read)), graph.dir)
        end
    end)

    it("have Alembic's paths up", function()
        local counts = {}
        for _, graph in ipairs(all) do
            compare(graph, "upgrades", upgrade_path, same, counts)
        end
        print("  upgrades: " .. json.encode(counts))
        for _, kind in ipairs { "path", "nothing", "ordered", "multiple_heads", "unknown_revision",
            "ambiguous_revision", "ambiguous_walk", "wrong_branch", "overlap", "too_far" } do
            assert.is_true((counts[kind] or 0) >= 10, kind)
        end
    end)

    it("have Alembic's paths down", function()
        local counts = {}
        for _, graph in ipairs(all) do
            compare(graph, "downgrades", revisions.downgrade_path, reversed, counts)
        end
        print("  downgrades: " .. json.encode(counts))
        for _, kind in ipairs { "path", "nothing", "ordered", "multiple_heads", "unknown_revision",
            "ambiguous_revision", "ambiguous_walk", "not_ancestor", "too_far" } do
            assert.is_true((counts[kind] or 0) >= 10, kind)
        end
    end)
end)
