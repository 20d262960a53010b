-- Words of a Dockerfile: quotes, escapes and variables, as Docker reads them.
local M = {}

local read

---The value of the variable whose name begins at `at`, after the "$".
---@return string value
---@return integer next
local function variable(text, at, variables)
    local plain = text:match("^[%a_][%w_]*", at)
    if plain then
        return variables[plain] or "", at + #plain
    end
    local name, after = text:match("^{([%a_][%w_]*)()", at)
    if not name then
        return "$", at
    end
    local value = variables[name]
    local colon, operator, word_at = text:match("^(:?)([-+?])()", after)
    if not operator then
        return value or "", (text:find("}", after, true) or #text) + 1
    end
    local word, last = read(text, word_at, "}", variables)
    local is_set = value ~= nil and (colon == "" or value ~= "")
    if operator == "-" then
        return is_set and value or word, last + 1
    elseif operator == "+" then
        return is_set and word or "", last + 1
    end
    return value or "", last + 1
end

---Reads up to an unquoted character of the set `stop`.
---@return string text without quotes, with values for variables
---@return integer last where it stopped
function read(text, at, stop, variables)
    local parts, quote = {}, nil
    local stops = stop and "[" .. stop .. "]"
    while at <= #text do
        local c = text:sub(at, at)
        local part = c
        if not quote and stops and c:find(stops) then
            break
        elseif c == quote then
            part, quote = "", nil
        elseif quote ~= "'" and c == "\\" then
            at = at + 1
            part = text:sub(at, at)
            part = quote and not part:find('["$\\]') and "\\" .. part or part
        elseif not quote and (c == "'" or c == '"') then
            part, quote = "", c
        elseif quote ~= "'" and c == "$" then
            part, at = variable(text, at + 1, variables)
            at = at - 1
        end
        parts[#parts + 1] = part
        at = at + 1
    end
    return table.concat(parts), at
end

---The whole text as one word.
---@param text string
---@param variables table<string, string>
---@return string
function M.expand(text, variables)
    return (read(text, 1, nil, variables))
end

---@param text string
---@param variables table<string, string>
---@return string[]
function M.split(text, variables)
    local words = {}
    local at = text:find("%S")
    while at do
        words[#words + 1], at = read(text, at, "%s", variables)
        at = text:find("%S", at)
    end
    return words
end

return M
