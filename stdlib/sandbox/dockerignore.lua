-- Which files of a build context .dockerignore leaves out. Patterns are those of Docker: the last
-- one that matches decides, and a pattern that matches a folder matches all that is in it.
local M = {}

---A pattern of one part of a path as a Lua pattern.
local function part_pattern(part)
    local result, at = { "^" }, 1
    while at <= #part do
        local c = part:sub(at, at)
        local class = c == "[" and part:match("^%[[^%]]+%]", at)
        if class then
            result[#result + 1] = class:gsub("%%", "%%%%")
            at = at + #class - 1
        elseif c == "*" then
            result[#result + 1] = ".*"
        elseif c == "?" then
            result[#result + 1] = "."
        else
            if c == "\\" and at < #part then
                at = at + 1
                c = part:sub(at, at)
            end
            result[#result + 1] = c:gsub("%p", "%%%0")
        end
        at = at + 1
    end
    result[#result + 1] = "$"
    return table.concat(result)
end

local function parts_of(path)
    local parts = {}
    for part in path:gmatch("[^/]+") do
        if part ~= "." then
            parts[#parts + 1] = part
        end
    end
    return parts
end

---@param pattern string of Docker: * and ? within a part, ** for any parts
---@return table
function M.compile(pattern)
    local parts = parts_of(pattern)
    for i, part in ipairs(parts) do
        parts[i] = part == "**" and part or part_pattern(part)
    end
    return parts
end

local function matches(pattern, p, parts, last, i)
    if p > #pattern then
        return i > last
    elseif pattern[p] == "**" then
        for from = i, last + 1 do
            if matches(pattern, p + 1, parts, last, from) then
                return true
            end
        end
        return false
    end
    return i <= last and parts[i]:find(pattern[p]) ~= nil
        and matches(pattern, p + 1, parts, last, i + 1)
end

---How much of a path matches: the path itself, or the folder of it that does.
---@param pattern table of compile
---@param path string
---@return integer? parts the number of leading parts that match; nil: none
---@return integer all the number of all parts
function M.match(pattern, path)
    local parts = parts_of(path)
    for last = 1, #parts do
        if matches(pattern, 1, parts, last, 1) then
            return last, #parts
        end
    end
    return nil, #parts
end

---@param text? string of the file; nil leaves nothing out
---@return fun(path: string): boolean # does it leave the file out?
function M.parse(text)
    local rules = {}
    for line in ((text or "") .. "\n"):gmatch("(.-)\r?\n") do
        local bang, pattern = line:match("^%s*(!?)%s*(.-)%s*$")
        if pattern ~= "" and pattern:sub(1, 1) ~= "#" then
            rules[#rules + 1] = { out = bang == "", pattern = M.compile(pattern) }
        end
    end
    return function(path)
        local out = false
        for _, rule in ipairs(rules) do
            if rule.out ~= out and M.match(rule.pattern, path) then
                out = rule.out
            end
        end
        return out
    end
end

return M
