-- Tokens of a GraphQL document: October 2021 specification, section 2.1.
local M = {}

---@class sandbox.graphql.token
---@field kind "name"|"int"|"float"|"string"|"punctuator"|"end"
---@field value string
---@field line integer
---@field column integer

---Raised for a document that is no GraphQL.
---@param token {line: integer, column: integer}
---@param text string
function M.fail(token, text)
    error({ graphql = true, message = "Syntax Error: " .. text,
        locations = { { line = token.line, column = token.column } } }, 0)
end

local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r",
    t = "\t" }

local function utf8_of(code)
    if code < 0x80 then
        return string.char(code)
    elseif code < 0x800 then
        return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
    end
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64,
        0x80 + code % 64)
end

---Common indentation and blank lines at both ends do not belong to a block string.
local function dedented(text)
    local lines, indent = {}, nil
    for line in (text:gsub("\r\n?", "\n") .. "\n"):gmatch "(.-)\n" do
        lines[#lines + 1] = line
        local blank = #line:match "^[ \t]*"
        if #lines > 1 and blank < #line and (not indent or blank < indent) then
            indent = blank
        end
    end
    for i = 2, #lines do
        lines[i] = lines[i]:sub((indent or 0) + 1)
    end
    while lines[1] and lines[1]:match "^[ \t]*$" do
        table.remove(lines, 1)
    end
    while lines[#lines] and lines[#lines]:match "^[ \t]*$" do
        lines[#lines] = nil
    end
    return table.concat(lines, "\n")
end

local Lexer = {}
Lexer.__index = Lexer

function Lexer:token(kind, value, from)
    return { kind = kind, value = value, line = self.line, column = from - self.line_start + 1 }
end

function Lexer:skip_ignored()
    while true do
        local at = self.text:find("[^ \t,]", self.at) or #self.text + 1
        local byte = self.text:sub(at, at)
        if byte == "#" then
            at = self.text:find("[\r\n]", at) or #self.text + 1
        elseif byte == "\n" or byte == "\r" then
            at = at + (self.text:sub(at, at + 1) == "\r\n" and 2 or 1)
            self.line, self.line_start = self.line + 1, at
        elseif self.text:sub(at, at + 2) == "\239\187\191" then
            at = at + 3
        else
            self.at = at
            return
        end
        self.at = at
    end
end

function Lexer:block_string(from)
    local at, parts = from + 3, {}
    while true do
        local close = self.text:find('"""', at, true)
        if not close then
            M.fail(self:token("string", "", from), "Unterminated string.")
        elseif self.text:sub(close - 1, close - 1) == "\\" then
            parts[#parts + 1] = self.text:sub(at, close - 2) .. '"""'
            at = close + 3
        else
            parts[#parts + 1] = self.text:sub(at, close - 1)
            local token = self:token("string", dedented(table.concat(parts)), from)
            for position in self.text:sub(from, close):gmatch "()\n" do
                self.line, self.line_start = self.line + 1, from + position
            end
            self.at = close + 3
            return token
        end
    end
end

function Lexer:string(from)
    local at, parts = from + 1, {}
    while true do
        local stop = self.text:find('["\\\r\n]', at)
        local byte = stop and self.text:sub(stop, stop)
        if not stop or byte == "\n" or byte == "\r" then
            M.fail(self:token("string", "", from), "Unterminated string.")
        end
        parts[#parts + 1] = self.text:sub(at, stop - 1)
        if byte == '"' then
            self.at = stop + 1
            return self:token("string", table.concat(parts), from)
        end
        local letter = self.text:sub(stop + 1, stop + 1)
        local digits = letter == "u" and self.text:match("^%x%x%x%x", stop + 2)
        if digits then
            parts[#parts + 1] = utf8_of(tonumber(digits, 16))
            at = stop + 6
        elseif escapes[letter] then
            parts[#parts + 1] = escapes[letter]
            at = stop + 2
        else
            M.fail(self:token("string", "", stop), "Invalid character escape sequence.")
        end
    end
end

function Lexer:number(from)
    local digits = self.text:match("^-?%d+", from)
    if not digits or digits:match "^-?0%d" then
        M.fail(self:token("int", "", from), "Invalid number.")
    end
    local fraction = self.text:match("^%.%d+", from + #digits) or ""
    local exponent = self.text:match("^[eE][+-]?%d+", from + #digits + #fraction) or ""
    local text = digits .. fraction .. exponent
    if self.text:match("^[%w_.]", from + #text) then
        M.fail(self:token("int", "", from), "Invalid number.")
    end
    self.at = from + #text
    return self:token(text == digits and "int" or "float", text, from)
end

---@return sandbox.graphql.token
function Lexer:next()
    self:skip_ignored()
    local from = self.at
    if from > #self.text then
        return self:token("end", "<EOF>", from)
    end
    local name = self.text:match("^[%a_][%w_]*", from)
    if name then
        self.at = from + #name
        return self:token("name", name, from)
    elseif self.text:sub(from, from + 2) == '"""' then
        return self:block_string(from)
    elseif self.text:sub(from, from) == '"' then
        return self:string(from)
    elseif self.text:match("^[-%d]", from) then
        return self:number(from)
    end
    local sign = self.text:match("^%.%.%.", from) or self.text:match("^[!$&()%:=@%[%]{|}]", from)
    if not sign then
        M.fail(self:token("punctuator", "", from), "Unexpected character.")
    end
    self.at = from + #sign
    return self:token("punctuator", sign, from)
end

---@param text string
---@return {next: fun(self: table): sandbox.graphql.token}
function M.new(text)
    return setmetatable({ text = text, at = 1, line = 1, line_start = 1 }, Lexer)
end

return M
