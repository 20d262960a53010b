-- A GraphQL document as a tree: October 2021 specification, sections 2.2 to 2.12. Type definitions
-- are not part of what a client sends.
local lexer = require "sandbox.graphql.lexer"

local M = {}

local SIZE_LIMIT = 64 * 1024
local DEPTH_LIMIT = 32
local TOKEN_LIMIT = 10000

local Parser = {}
Parser.__index = Parser

local function unexpected(token, wanted)
    lexer.fail(token, ("Expected %s, found %s."):format(wanted,
        token.kind == "end" and "<EOF>" or ('"%s"'):format(token.value:sub(1, 40))))
end

function Parser:advance()
    local token = self.token
    self.count = self.count + 1
    if self.count > TOKEN_LIMIT then
        lexer.fail(token, "Document contains too many tokens.")
    end
    self.token = self.lexer:next()
    return token
end

function Parser:is(sign)
    return self.token.kind == "punctuator" and self.token.value == sign
end

function Parser:take(sign)
    return self:is(sign) and self:advance() or nil
end

function Parser:expect(sign)
    return self:take(sign) or unexpected(self.token, ('"%s"'):format(sign))
end

function Parser:name()
    if self.token.kind ~= "name" then
        unexpected(self.token, "Name")
    end
    return self:advance().value
end

---Runs one level deeper; a document that nests without end must not exhaust the stack.
function Parser:deeper(f, ...)
    self.depth = self.depth + 1
    if self.depth > DEPTH_LIMIT then
        lexer.fail(self.token, "Document is nested too deeply.")
    end
    local result = f(self, ...)
    self.depth = self.depth - 1
    return result
end

function Parser:list_value(constant)
    local items = {}
    self:expect "["
    while not self:take "]" do
        items[#items + 1] = self:deeper(self.value, constant)
    end
    return { kind = "list", items = items }
end

function Parser:object_value(constant)
    local fields = {}
    self:expect "{"
    while not self:take "}" do
        local name = self:name()
        self:expect ":"
        fields[#fields + 1] = { name = name, value = self:deeper(self.value, constant) }
    end
    return { kind = "object", fields = fields }
end

function Parser:value(constant)
    local token = self.token
    if self:is "[" then
        return self:list_value(constant)
    elseif self:is "{" then
        return self:object_value(constant)
    elseif self:is "$" and not constant then
        self:advance()
        return { kind = "variable", name = self:name(), at = token }
    elseif token.kind == "name" then
        local word = self:advance().value
        if word == "true" or word == "false" then
            return { kind = "boolean", value = word == "true" }
        end
        return word == "null" and { kind = "null" } or { kind = "enum", value = word }
    elseif token.kind == "string" or token.kind == "int" or token.kind == "float" then
        self:advance()
        return { kind = token.kind, value = token.value }
    end
    unexpected(token, "a value")
end

function Parser:arguments()
    local arguments = {}
    if self:take "(" then
        repeat
            local at = self.token
            local name = self:name()
            self:expect ":"
            arguments[#arguments + 1] = { name = name, value = self:deeper(self.value), at = at }
        until self:take ")"
    end
    return arguments
end

function Parser:directives()
    local directives = {}
    while self:is "@" do
        local at = self:advance()
        directives[#directives + 1] = { name = self:name(), arguments = self:arguments(), at = at }
    end
    return directives
end

function Parser:selection()
    local at = self.token
    if self:take "..." then
        if self.token.kind == "name" and self.token.value ~= "on" then
            return { kind = "spread", name = self:name(), directives = self:directives(), at = at }
        end
        local condition
        if self.token.kind == "name" then
            self:advance()
            condition = self:name()
        end
        return { kind = "inline", on = condition, directives = self:directives(),
            selections = self:selections(), at = at }
    end
    local alias, name = nil, self:name()
    if self:take ":" then
        alias, name = name, self:name()
    end
    local arguments, directives = self:arguments(), self:directives()
    return {
        kind = "field", name = name, key = alias or name, arguments = arguments,
        directives = directives, at = at, selections = self:is "{" and self:selections() or nil,
    }
end

function Parser:selections()
    self:expect "{"
    local selections = {}
    repeat
        selections[#selections + 1] = self:deeper(self.selection)
    until self:take "}"
    return selections
end

function Parser:type()
    local result
    if self:take "[" then
        result = { list = self:deeper(self.type) }
        self:expect "]"
    else
        result = { name = self:name() }
    end
    result.required = self:take "!" ~= nil
    return result
end

function Parser:variables()
    local variables = {}
    if self:take "(" then
        repeat
            local at = self:expect "$"
            local name = self:name()
            self:expect ":"
            local variable = { name = name, type = self:type(), at = at }
            if self:take "=" then
                variable.default = self:value(true)
            end
            self:directives()
            variables[#variables + 1] = variable
        until self:take ")"
    end
    return variables
end

function Parser:definition(document)
    local at = self.token
    if self:is "{" then
        table.insert(document.operations, { kind = "query", variables = {}, directives = {},
            selections = self:selections(), at = at })
        return
    end
    local word = self:name()
    if word == "fragment" then
        local name = self:name()
        if name == "on" or self:name() ~= "on" then
            lexer.fail(at, 'Unexpected Name "on".')
        end
        document.fragments[name] = { name = name, on = self:name(),
            directives = self:directives(), selections = self:selections(), at = at }
    elseif word == "query" or word == "mutation" or word == "subscription" then
        local operation = { kind = word, at = at }
        operation.name = self.token.kind == "name" and self:name() or nil
        operation.variables = self:variables()
        operation.directives = self:directives()
        operation.selections = self:selections()
        table.insert(document.operations, operation)
    else
        lexer.fail(at, ('Unexpected Name "%s".'):format(word))
    end
end

---@param text string
---@return {operations: table[], fragments: table<string, table>}
function M.parse(text)
    if #text > SIZE_LIMIT then
        lexer.fail({ line = 1, column = 1 }, "Document is too large.")
    end
    local parser = setmetatable({ lexer = lexer.new(text), count = 0, depth = 0 }, Parser)
    parser.token = parser.lexer:next()
    local document = { operations = {}, fragments = {} }
    repeat
        parser:definition(document)
    until parser.token.kind == "end"
    return document
end

return M
