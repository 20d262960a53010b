-- A place in the tokens of a statement, or of a part of one.
local M = {}

---@class dgrun.hazards.cursor
---@field tokens dgrun.hazards.token[]
---@field at integer
---@field last integer
local Cursor = {}
Cursor.__index = Cursor

---@return dgrun.hazards.cursor
function M.new(tokens, first, last)
    return setmetatable({ tokens = tokens, at = first or 1, last = last or #tokens }, Cursor)
end

function Cursor:peek(ahead)
    local at = self.at + (ahead or 0)
    return at <= self.last and self.tokens[at] or nil
end

function Cursor:done()
    return self.at > self.last
end

---The word here, in lower case; what is quoted is no word.
function Cursor:word(ahead)
    local token = self:peek(ahead)
    return token and token.kind == "word" and token.text or nil
end

function Cursor:is_symbol(text)
    local token = self:peek()
    return token ~= nil and token.kind == "symbol" and token.text == text
end

---Goes past these words, when they are all here.
function Cursor:take(...)
    local count = select("#", ...)
    for i = 1, count do
        if self:word(i - 1) ~= (select(i, ...)) then
            return false
        end
    end
    self.at = self.at + count
    return true
end

function Cursor:symbol(text)
    local here = self:is_symbol(text)
    if here then
        self.at = self.at + 1
    end
    return here
end

---Goes past one token, or past a whole parenthesis, of which the inside is given back.
---@return dgrun.hazards.cursor? inside
function Cursor:skip()
    local first = self.at
    local depth = 0
    repeat
        if self:symbol("(") then
            depth = depth + 1
        else
            depth = depth - (self:is_symbol(")") and depth > 0 and 1 or 0)
            self.at = self.at + 1
        end
    until depth == 0 or self:done()
    if self.at - first > 1 then
        return M.new(self.tokens, first + 1, self.at - 2)
    end
end

---The inside of the parenthesis that opens here.
---@return dgrun.hazards.cursor?
function Cursor:parens()
    if self:is_symbol("(") then
        return self:skip()
    end
end

---Goes to the next place outside parentheses where these words are, and past them.
function Cursor:find(...)
    while not self:done() do
        if self:take(...) then
            return true
        end
        self:skip()
    end
    return false
end

---As find, but stays here.
function Cursor:has(...)
    return M.new(self.tokens, self.at, self.last):find(...)
end

---The parts between commas outside parentheses, from here to the end.
---@return dgrun.hazards.cursor[]
function Cursor:parts()
    local parts, first = {}, self.at
    while not self:done() do
        if self:is_symbol(",") then
            parts[#parts + 1] = M.new(self.tokens, first, self.at - 1)
            first = self.at + 1
        end
        self:skip()
    end
    if first <= self.last then
        parts[#parts + 1] = M.new(self.tokens, first, self.last)
    end
    return parts
end

---A part of a name, written so that "a.b" is not a.b.
local function part_of(token)
    if not token or token.kind ~= "word" and token.kind ~= "quoted" then
        return nil
    elseif token.kind == "quoted" and token.text:find('[."]') then
        return ('"%s"'):format(token.text:gsub('"', '""'))
    end
    return token.text
end

---One name: of a column, of a constraint.
---@return string?
function Cursor:plain_name()
    local part = part_of(self:peek())
    if part then
        self.at = self.at + 1
    end
    return part
end

---A name that may have a schema. `public` is left out: it is where unqualified names live unless
---the search_path was set (docs, 5.10.3 "The Schema Search Path").
---@param schema? string where unqualified names live
---@return string?
function Cursor:name(schema)
    local name = self:plain_name()
    local own = nil
    while name and self:is_symbol(".") and part_of(self:peek(1)) do
        self.at = self.at + 1
        own, name = name, self:plain_name()
    end
    own = own or schema
    if not name or not own or own == "public" then
        return name
    end
    return own .. "." .. name
end

---The tokens from here to the end, as one text without needless blanks.
function Cursor:text()
    local words, before = {}, nil
    for i = self.at, self.last do
        local token = self.tokens[i]
        local is_name = token.kind ~= "symbol"
        words[#words + 1] = before and is_name and " " .. token.text or token.text
        before = is_name
    end
    return table.concat(words)
end

return M
