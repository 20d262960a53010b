-- An SQL text as statements, each with its line and the revision that Alembic names above it.
local format = require "dgrun.format"
local tokens = require "dgrun.hazards.tokens"

local M = {}

local SHOWN = 240

---@class dgrun.hazards.statement
---@field tokens dgrun.hazards.token[]
---@field text string on one line, cut when long
---@field line integer
---@field revision? string

local function is_word(token, text)
    return token ~= nil and token.kind == "word" and token.text == text
end

---Does the statement hold a body with semicolons of its own: BEGIN ATOMIC … END of a function
---(docs, CREATE FUNCTION), BEGIN … END of a trigger in SQLite?
local function opens_body(list, token, dialect)
    if not is_word(list[1], "create") then
        return false
    elseif dialect == "sqlite" then
        return is_word(token, "begin") and (is_word(list[2], "trigger")
            or is_word(list[3], "trigger"))
    end
    return is_word(token, "atomic") and is_word(list[#list], "begin")
end

---Counts parentheses and bodies: a semicolon inside of either ends no statement.
local function track(state, list, token, dialect)
    local text = token.text
    if token.kind == "symbol" then
        if text == "(" then
            state.parens = state.parens + 1
        elseif text == ")" then
            state.parens = math.max(0, state.parens - 1)
        end
    elseif token.kind == "word" then
        if state.bodies > 0 and text == "case" or opens_body(list, token, dialect) then
            state.bodies = state.bodies + 1
        elseif state.bodies > 0 and text == "end" then
            state.bodies = state.bodies - 1
        end
    end
end

---A function that gives the line of a place; places must rise.
local function lines_of(sql)
    local line, seen = 1, 1
    return function(at)
        local _, count = sql:sub(seen, at - 1):gsub("\n", "")
        line, seen = line + count, at
        return line
    end
end

---@param sql string
---@param dialect string
---@return dgrun.hazards.statement[]
function M.split(sql, dialect)
    local list, found, revision = {}, {}, nil
    local state, line_of = { parens = 0, bodies = 0 }, lines_of(sql)
    local function finish()
        if #list > 0 then
            found[#found + 1] = {
                tokens = list, line = line_of(list[1].from), revision = revision,
                text = format.excerpt(sql:sub(list[1].from, list[#list].to), SHOWN),
            }
        end
        list, state.parens, state.bodies = {}, 0, 0
    end
    for _, token in ipairs(tokens.read(sql, dialect)) do
        if token.kind == "mark" then
            -- Between statements only: a comment inside of one is somebody's prose.
            revision = #list == 0 and token.text or revision
        elseif token.kind == "symbol" and token.text == ";" and state.parens == 0
            and state.bodies == 0 then
            finish()
        else
            track(state, list, token, dialect)
            list[#list + 1] = token
        end
    end
    finish()
    return found
end

return M
