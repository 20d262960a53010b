-- dgrun tests/lint/layers.lua [--report]: fails where the code leaves its layers. It reads each
-- `require` of stdlib/ and scripts/ and each `#include` of host/, and prints the map of the rooms.
-- A violation is an arrow to a higher room, a cycle, or a `require` inside a function.
-- --report lists all violations, sorted by the two files; without it, long lists are only counted.
local fs = require "host.fs"

---The rooms of the library, the lowest layer first. A room is a folder of stdlib/dgrun, or a file
---there with the files whose names begin with its name and an underscore. A module requires those
---of its own room and of lower layers; `only` restricts that further.
local LAYERS = {
    { "core" },
    { "run" },
    { "project" },
    { "git", "http", "proc" },
    { "migrations", "probe" },
    { "fly" },
    { "cron" },
    { "secrets" },
    { "preflight", "review", "status", "verify" },
    { "ui", only = { core = true, run = true } },
    { "sandbox", only = { core = true, http = true, proc = true,
        ["dgrun.project.python"] = true } },
    { "cli", "init" },
    { "scripts" },
}
local ONLY_FROM = { sandbox = { cli = true } }

---The folders of host/, the lowest first; a folder includes only those before it. What is in
---host/ itself is above all of them.
local FOLDERS = { "base", "secret", "loop", "proc", "git", "http", "store", "formats", "" }

---Host modules with large shared libraries: they may be required where they are first used.
local HEAVY = { digest = true, fly = true, http = true, postgres = true, server = true, sql = true,
    sqlite = true, toml = true }

---@class lint.arrow
---@field from string module, or host file without its ending
---@field to string
---@field where string "stdlib/dgrun/git.lua:12"
---@field inside? boolean the `require` is inside a function
---@field joined? boolean the name is built at run time; there is an arrow for each possible module
---@field implied? boolean a face loads its folder

---@class lint.graph
---@field lines table<string, integer> by node
---@field arrows lint.arrow[]
---@field room fun(node: string): string?
---@field rank table<string, integer> by room
---@field faces table<string, boolean> modules that are the init.lua of a folder

---@return string[] paths
local function files_below(folder, pattern, found)
    found = found or {}
    for _, name in ipairs(assert(fs.list(folder))) do
        local path = folder .. "/" .. name
        if fs.stat(path).type == "directory" then
            files_below(path, pattern, found)
        elseif name:match(pattern) then
            found[#found + 1] = path
        end
    end
    return found
end

local function line_of(text, at)
    return select(2, text:sub(1, at):gsub("\n", "")) + 1
end

---The end of the comment or string that begins at this place, nil where none begins.
local function skipped(text, at)
    local level = text:match("^%-%-%[(=*)%[", at) or text:match("^%[(=*)%[", at)
    if level then
        local _, last = text:find("]" .. level .. "]", at, true)
        return last or #text
    elseif text:find("^%-%-", at) then
        return text:find("\n", at, true) or #text
    end
    local quote = text:match("^[\"']", at)
    while quote do
        at = text:find("[\\" .. quote .. "]", at + 1) or #text
        if text:sub(at, at) ~= "\\" then
            return at
        end
        at = at + 1
    end
end

local OPENS = { ["function"] = true, ["do"] = true, ["if"] = true, ["repeat"] = true }
local CLOSES = { ["end"] = true, ["until"] = true }

---Calls found(name, joined, line, inside) for each `require` of a text in Lua. A name that is built
---at run time, "dgrun.cli." .. word, is its constant beginning, and `joined`.
local function each_require(text, found)
    local blocks, functions = {}, 0
    local at = 1
    while true do
        at = text:find("[%a_\"'%[%-]", at)
        if not at then
            return
        end
        local last = skipped(text, at)
        local word = not last and text:match("^[%a_][%w_]*", at)
        if word == "require" then
            local name, rest = text:match("^require%s*%(?%s*[\"']([%w_.]+)[\"']%s*([^\n]*)", at)
            if name then
                found(name, rest:sub(1, 2) == "..", line_of(text, at), functions > 0)
            end
        elseif OPENS[word] then
            blocks[#blocks + 1] = word
            functions = functions + (word == "function" and 1 or 0)
        elseif CLOSES[word] then
            functions = functions - (table.remove(blocks) == "function" and 1 or 0)
        end
        at = (last or at + math.max(#(word or ""), 1) - 1) + 1
    end
end

local function sorted_keys(map)
    local keys = {}
    for key in pairs(map) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    return keys
end

-- Lua.

local function module_of(path)
    local name = path:gsub("^stdlib/", ""):gsub("%.lua$", ""):gsub("/", ".")
    return (name:gsub("%.init$", ""))
end

---dgrun.fly.api → fly; dgrun.git_refs → git; dgrun → init; sandbox.world → sandbox
local function room_of_module(rank)
    return function(name)
        local first = name:match "^(%l+)" ~= "dgrun" and name:match "^(%l+)"
            or name == "dgrun" and "init" or name:match "^dgrun%.([%w_]+)"
        if first and not rank[first] then
            first = first:match "^(%l+)_"
        end
        return rank[first] and first
    end
end

---@return lint.graph
local function lua_graph()
    local rank, lines, arrows, joined = {}, {}, {}, {}
    for i, layer in ipairs(LAYERS) do
        for _, room in ipairs(layer) do
            rank[room] = i
        end
    end
    local faces = {}
    for _, folder in ipairs { "stdlib/dgrun", "stdlib/sandbox", "scripts" } do
        for _, path in ipairs(files_below(folder, "%.lua$")) do
            local from, text = module_of(path), assert(fs.read(path))
            lines[from] = line_of(text, #text) - 1
            faces[from] = path:find "/init%.lua$" ~= nil
            each_require(text, function(name, is_joined, line, inside)
                local arrow = { from = from, to = name, where = path .. ":" .. line,
                    inside = inside }
                table.insert(is_joined and joined or arrows, arrow)
            end)
        end
    end
    -- What is joined at run time may be any module that begins so; a face loads its whole folder.
    for from, is_face in pairs(faces) do
        if is_face then
            joined[#joined + 1] = { from = from, to = from .. ".", where = from, implied = true }
        end
    end
    for _, arrow in ipairs(joined) do
        for name in pairs(lines) do
            if name:sub(1, #arrow.to) == arrow.to and name ~= arrow.from
                and not name:find(".", #arrow.to + 1, true) then
                arrows[#arrows + 1] = { from = arrow.from, to = name, where = arrow.where,
                    inside = arrow.inside, implied = arrow.implied, joined = true }
            end
        end
    end
    return { lines = lines, arrows = arrows, rank = rank, room = room_of_module(rank),
        faces = faces }
end

---May this `require` be inside a function?
local function may_be_inside(graph, arrow)
    local noun = arrow.to:match "^host%.([%w_]+)$"
    if noun then
        return HEAVY[noun]
    end
    local own = arrow.from .. "."
    return graph.faces[arrow.from] and arrow.to:sub(1, #own) == own
        or arrow.from == "dgrun.run.store" and arrow.to:find "^dgrun%.run%.store_" ~= nil
        or graph.room(arrow.from) == "cli" and graph.room(arrow.to) == "sandbox"
end

local function goes_upward(graph, arrow)
    local from, to = graph.room(arrow.from), graph.room(arrow.to)
    if not graph.lines[arrow.to] or not from or not to or from == to then
        return false
    end
    local only = LAYERS[graph.rank[from]].only
    return graph.rank[to] >= graph.rank[from]
        or only and not only[to] and not only[arrow.to]
        or ONLY_FROM[to] and not ONLY_FROM[to][from]
end

-- C.

---@return lint.graph
local function host_graph()
    local rank, lines, arrows, there = {}, {}, {}, {}
    for i, folder in ipairs(FOLDERS) do
        rank[folder] = i
    end
    local paths = files_below("host", "%.[ch]p?p?$")
    -- A .c and its headers are one node, also x_own.h, which is for the parts of x only.
    local function node_of(path)
        return (path:gsub("^host/", ""):gsub("%.%w+$", ""):gsub("_own$", ""))
    end
    for _, path in ipairs(paths) do
        there[node_of(path)] = true
    end
    local function room(node)
        local folder = node:match "^(.*)/[^/]*$" or ""
        return rank[folder] and folder
    end
    for _, path in ipairs(paths) do
        local from = node_of(path)
        local text = assert(fs.read(path))
        lines[from] = (lines[from] or 0) + line_of(text, #text) - 1
        local number = 0
        for line in text:gmatch "([^\n]*)\n" do
            number = number + 1
            local name = line:match '^%s*#%s*include%s+"([^"]+)"'
            name = name and node_of(name)
            local beside = name and ((from:match "^.*/" or "") .. name)
            local to = there[beside] and beside or there[name] and name
            if to and to ~= from then
                arrows[#arrows + 1] = { from = from, to = to, where = path .. ":" .. number }
            end
        end
    end
    return { lines = lines, arrows = arrows, rank = rank, room = room, faces = {} }
end

-- Both.

---The strongly connected components with more than one member, by Tarjan.
---@return string[][]
local function cycles_of(graph)
    local targets = {}
    for _, arrow in ipairs(graph.arrows) do
        if graph.lines[arrow.to] and graph.lines[arrow.from] then
            targets[arrow.from] = targets[arrow.from] or {}
            targets[arrow.from][arrow.to] = true
        end
    end
    local index, low, on_stack, stack, count, found = {}, {}, {}, {}, 0, {}
    local function visit(node)
        count = count + 1
        index[node], low[node], on_stack[node] = count, count, true
        stack[#stack + 1] = node
        for _, to in ipairs(sorted_keys(targets[node] or {})) do
            if not index[to] then
                visit(to)
                low[node] = math.min(low[node], low[to])
            elseif on_stack[to] then
                low[node] = math.min(low[node], index[to])
            end
        end
        if low[node] == index[node] then
            local members = {}
            repeat
                local member = table.remove(stack)
                on_stack[member] = nil
                members[#members + 1] = member
            until member == node
            table.sort(members)
            if members[2] then
                found[#found + 1] = members
            end
        end
    end
    for _, node in ipairs(sorted_keys(graph.lines)) do
        if not index[node] then
            visit(node)
        end
    end
    return found
end

local function print_map(graph, unit)
    local rooms = {}
    for node, lines in pairs(graph.lines) do
        local name = graph.room(node) or "?"
        local room = rooms[name] or { files = 0, lines = 0, uses = {} }
        room.files, room.lines = room.files + 1, room.lines + lines
        rooms[name] = room
    end
    for _, arrow in ipairs(graph.arrows) do
        local from, to = graph.room(arrow.from) or "?", graph.room(arrow.to)
        if graph.lines[arrow.to] and from ~= to and not arrow.implied then
            rooms[from].uses[to or "?"] = (rooms[from].uses[to or "?"] or 0) + 1
        end
    end
    local names = sorted_keys(rooms)
    local function height(name)
        return graph.rank[name] or math.huge
    end
    table.sort(names, function(a, b)
        return height(a) > height(b) or height(a) == height(b) and a < b
    end)
    for _, name in ipairs(names) do
        local room, uses = rooms[name], {}
        for _, to in ipairs(sorted_keys(room.uses)) do
            uses[#uses + 1] = ("%s %d"):format(to == "" and "top" or to, room.uses[to])
        end
        print(("%2s  %-11s %3d %s %6d lines  → %s"):format(graph.rank[name] or "",
            name == "" and "top" or name, room.files, unit, room.lines, table.concat(uses, ", ")))
    end
end

---@alias lint.violation {from: string, to: string, text: string}
local violations = { upward = {}, cycle = {}, inside = {}, homeless = {} }
local reporting = (...) == "--report"

local function add(class, from, to, text)
    table.insert(violations[class], { from = from, to = to, text = text })
end

---@param graph lint.graph
---@param upward fun(graph: lint.graph, arrow: lint.arrow): boolean
local function judge(graph, upward)
    for _, node in ipairs(sorted_keys(graph.lines)) do
        if not graph.room(node) then
            add("homeless", node, "", node)
        end
    end
    local seen = {}
    for _, arrow in ipairs(graph.arrows) do
        local text = ("%s → %s  (%s)"):format(arrow.from, arrow.to, arrow.where)
        if not arrow.implied and upward(graph, arrow) then
            add("upward", arrow.from, arrow.to, text)
        end
        -- What is joined at run time is one `require`, whatever it may load.
        if arrow.inside and not may_be_inside(graph, arrow) and not seen[arrow.where] then
            add("inside", arrow.from, arrow.to, text)
            seen[arrow.where] = arrow.joined
        end
    end
    for _, members in ipairs(cycles_of(graph)) do
        local is_member, inner = {}, {}
        for _, name in ipairs(members) do
            is_member[name] = true
        end
        for _, arrow in ipairs(graph.arrows) do
            if is_member[arrow.from] and is_member[arrow.to] and not arrow.implied then
                inner[#inner + 1] = ("      %s → %s  (%s)"):format(arrow.from, arrow.to,
                    arrow.where)
            end
        end
        table.sort(inner)
        add("cycle", members[1], members[2], ("%d files: %s%s"):format(#members,
            table.concat(members, " "), reporting and "\n" .. table.concat(inner, "\n") or ""))
    end
end

local function include_goes_upward(graph, arrow)
    local from, to = graph.rank[graph.room(arrow.from)], graph.rank[graph.room(arrow.to)]
    return from ~= nil and to ~= nil and to > from
end

local lua, host = lua_graph(), host_graph()
judge(lua, goes_upward)
judge(host, include_goes_upward)
print_map(lua, "modules")
print ""
print_map(host, "files  ")

local titles = { { "upward", "upward arrows" }, { "cycle", "cycles" },
    { "inside", "requires inside functions" }, { "homeless", "files of no room" } }
local total = 0
for _, title in ipairs(titles) do
    local list = violations[title[1]]
    total = total + #list
    print(("\n%s: %d"):format(title[2], #list))
    table.sort(list, function(a, b)
        return a.from < b.from or a.from == b.from and (a.to < b.to
            or a.to == b.to and a.text < b.text)
    end)
    for _, violation in ipairs((reporting or #list <= 20) and list or {}) do
        print("  " .. violation.text)
    end
end
if total > 0 then
    os.exit(1)
end
