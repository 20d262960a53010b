-- On which line of a configuration file does a key stand? The decoders give values only, so the
-- text is read once more for its keys, when there is something to tell.
local M = {}

---Names under which a section may stand in the file.
local aliases = { compute = "vm", computes = "vm", mount = "mounts", metric = "metrics",
    build_target = "build-target" }

local function joined(path)
    return table.concat(path, "\0")
end

local function note(index, path, line)
    local key = joined(path)
    index[key] = index[key] or line
end

local function words_of_key(text)
    local path = {}
    local rest = text
    while rest ~= "" do
        local quoted, after = rest:match "^%s*\"([^\"]*)\"%s*%.?(.*)$"
        if not quoted then
            quoted, after = rest:match "^%s*'([^']*)'%s*%.?(.*)$"
        end
        if not quoted then
            quoted, after = rest:match "^%s*([^%.%s]+)%s*%.?(.*)$"
        end
        if not quoted then
            return path
        end
        path[#path + 1] = quoted
        rest = after
    end
    return path
end

---How many brackets a line of TOML leaves open, strings and comments aside.
local function open_brackets(line)
    local plain = line:gsub('\\.', ""):gsub('"[^"]*"', ""):gsub("'[^']*'", ""):gsub("#.*", "")
    local _, opened = plain:gsub("[%[{]", "")
    local _, closed = plain:gsub("[%]}]", "")
    return opened - closed
end

local function extended(path, more)
    local result = { unpack(path) }
    for _, word in ipairs(more) do
        result[#result + 1] = word
    end
    return result
end

---The path of a [[list]] entry, counted; of a table below one, in its last entry.
local function table_path(words, counts, is_entry)
    local path = {}
    for i, word in ipairs(words) do
        path[#path + 1] = aliases[word] or word
        local key = joined(path)
        if is_entry and i == #words then
            counts[key] = (counts[key] or 0) + 1
        end
        if counts[key] then
            path[#path + 1] = tostring(counts[key])
        end
    end
    return path
end

local function index_toml(text)
    local index, counts, table_at = {}, {}, {}
    local number, depth, fence = 0, 0, nil
    for line in (text .. "\n"):gmatch "(.-)\n" do
        number = number + 1
        if fence then
            fence = not line:find(fence, 1, true) and fence or nil
        elseif depth > 0 then
            depth = depth + open_brackets(line)
        elseif line:match "^%s*%[%[" then
            table_at = table_path(words_of_key(line:match "^%s*%[%[(.-)%]%]" or ""), counts, true)
            note(index, table_at, number)
        elseif line:match "^%s*%[" then
            table_at = table_path(words_of_key(line:match "^%s*%[(.-)%]" or ""), counts, false)
            note(index, table_at, number)
        else
            local key, value = line:match "^%s*([^#=]-)%s*=%s*(.*)$"
            if key then
                note(index, extended(table_at, words_of_key(key)), number)
                local quote = value:match '^"""' or value:match "^'''"
                fence = quote and not value:find(quote, 4, true) and quote or nil
                depth = fence and 0 or open_brackets(value)
            end
        end
    end
    return index
end

---Where we are in nested lists and tables; lists count their entries.
local function path_of(stack)
    local path = {}
    for i, one in ipairs(stack) do
        path[i] = one.count and tostring(one.count) or one.key
    end
    return path
end

---Block style; what is written in flow style is found by the key before it.
local function index_yaml(text)
    local index, stack, number = {}, {}, 0
    for line in (text .. "\n"):gmatch "(.-)\n" do
        number = number + 1
        local indent, rest = line:match "^( *)(.*)$"
        local at, dash = #indent, rest:match "^%-%s+"
        local key = rest:match "^%-?%s*[\"']?([%w_%.-]+)[\"']?:%s"
            or rest:match "^%-?%s*[\"']?([%w_%.-]+)[\"']?:$"
        if dash or key then
            -- A list may stand at its key's own indent.
            while stack[1] and (stack[#stack].at > at or (stack[#stack].at == at and not dash)) do
                stack[#stack] = nil
            end
        end
        if dash then
            local top = stack[#stack]
            if top and top.count and top.at == at then
                top.count = top.count + 1
            else
                stack[#stack + 1] = { at = at, count = 1 }
            end
            note(index, path_of(stack), number)
            at = at + #dash
        end
        if key then
            stack[#stack + 1] = { at = at, key = aliases[key] or key }
            note(index, path_of(stack), number)
        end
    end
    return index
end

---The position behind the string whose first quote is at `from`, and what stands in it.
local function json_string(text, from)
    local at = from + 1
    while true do
        local found = text:find('["\\]', at)
        if not found then
            return #text + 1, ""
        elseif text:sub(found, found) == '"' then
            return found + 1, text:sub(from + 1, found - 1)
        end
        at = found + 2
    end
end

local function index_json(text)
    local index, stack, number, at = {}, {}, 1, 1
    while true do
        local from, _, token = text:find('([\n"%[{}%],])', at)
        if not from then
            return index
        end
        at = from + 1
        local top = stack[#stack]
        if token == "\n" then
            number = number + 1
        elseif token == '"' then
            local name
            at, name = json_string(text, from)
            if top and not top.count and text:find("^%s*:", at) then
                top.key = aliases[name] or name
                note(index, path_of(stack), number)
            end
        elseif token == "{" then
            stack[#stack + 1] = { key = "" }
        elseif token == "[" then
            stack[#stack + 1] = { count = 1 }
        elseif token == "," and top and top.count then
            top.count = top.count + 1
        elseif token ~= "," then
            stack[#stack] = nil
        end
    end
end

local readers = { toml = index_toml, yaml = index_yaml, json = index_json }

---The nearest table around a key that has a line.
local function around(index, words)
    for last = #words - 1, 1, -1 do
        local line = index[joined { unpack(words, 1, last) }]
        if line then
            return line
        end
    end
end

---Finds lines of a text: finder(path) → line. A key that is not found itself is looked for by the
---table around it.
---@param text string
---@param format "toml"|"yaml"|"json"
---@return fun(path: (string|integer)[]): integer?
function M.finder(text, format)
    local index
    return function(path)
        index = index or readers[format](text)
        local words, single = {}, {}
        for i, word in ipairs(path) do
            words[i] = tostring(word)
            -- A single table may stand where a list is meant.
            single[#single + 1] = type(word) == "string" and word or nil
        end
        return index[joined(words)] or index[joined(single)] or around(index, words)
            or around(index, single)
    end
end

return M
