-- What two services answered, held against each other: statuses, fields, their JSON types, and the
-- words of errors. Values differ from service to service.
local json = require "dgrun.core.json"

local M = {}

---Fields whose words count.
local worded = { error = true, message = true, state = true, level = true, provider = true }

---Words without what differs from run to run.
local function plain(text, app)
    return (text:gsub(app:gsub("%p", "%%%0"), "APP"):gsub("%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z?", "TIME")
        :gsub("%f[%w][0-9A-HJKMNP-TV-Z]+%f[%W]", function(word)
            return #word == 26 and "ULID" or nil
        end):gsub("%f[%w]%x+%f[%W]", function(word)
            return #word == 14 and "ID" or nil
        end):gsub("[%w._+-]+@[%w.-]+", "EMAIL"))
end

local function type_of(value)
    if value == json.null then
        return "null"
    elseif type(value) == "table" and not json.is_number(value) then
        return json.is_array(value) and "list" or "object"
    end
    return json.is_number(value) and "number" or type(value)
end

---{path = type} of a JSON value; items of a list are one.
local function shape(value, app, path, name, found)
    local kind = type_of(value)
    if kind == "string" and worded[name] then
        kind = ('"%s"'):format(plain(value, app))
    end
    local kinds = found[path] or {}
    found[path], kinds[kind] = kinds, true
    if kind == "list" then
        for _, item in ipairs(value) do
            shape(item, app, path .. "[]", name, found)
        end
    elseif kind == "object" then
        for key, item in pairs(value) do
            shape(item, app, path .. "." .. tostring(key), key, found)
        end
    end
    return found
end

local function joined(kinds)
    local list = {}
    for kind in pairs(kinds) do
        list[#list + 1] = kind
    end
    table.sort(list)
    return table.concat(list, " or ")
end

local function sorted_paths(...)
    local seen, list = {}, {}
    for _, shapes in ipairs { ... } do
        for path in pairs(shapes) do
            list[#list + 1] = not seen[path] and path or nil
            seen[path] = true
        end
    end
    table.sort(list)
    return list
end

local function parent(path)
    return path:match "^(.*)%[%]$" or path:match "^(.*)%.[^.]*$"
end

---Is something above a path there in one answer only? Then that says enough.
local function is_covered(path, shapes)
    local above = parent(path)
    while above and above ~= "" do
        local kinds = shapes[above]
        if not kinds or not (kinds.object or kinds.list) then
            return true
        end
        above = parent(above)
    end
    return false
end

local function of_bodies(ours, theirs, app)
    local lines = {}
    local left = ours ~= nil and shape(ours, app, "", "", {}) or {}
    local right = theirs ~= nil and shape(theirs, app, "", "", {}) or {}
    for _, path in ipairs(sorted_paths(left, right)) do
        local mine = left[path] and joined(left[path])
        local other = right[path] and joined(right[path])
        local name = path == "" and "the body" or path
        if not mine and not is_covered(path, left) then
            lines[#lines + 1] = ("%s: only live, %s"):format(name, other)
        elseif mine and not other and not is_covered(path, right) then
            lines[#lines + 1] = ("%s: only local, %s"):format(name, mine)
        elseif mine and other and mine ~= other then
            lines[#lines + 1] = ("%s: local %s, live %s"):format(name, mine, other)
        end
    end
    return lines
end

---The differences of one step.
---@param ours live.answer?
---@param theirs live.answer?
---@return string[]
function M.answers(ours, theirs, app)
    if not ours or not theirs then
        return { ours and "live: was not asked" or "local: was not asked" }
    end
    local lines = of_bodies(ours.body, theirs.body, app)
    if ours.status ~= theirs.status then
        table.insert(lines, 1, ("status: local %d, live %d"):format(ours.status, theirs.status))
    end
    return lines
end

return M
