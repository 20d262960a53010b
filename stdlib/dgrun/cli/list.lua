-- dgrun list: the scripts of the nearest scripts/, each with its description and inputs.
local command_of = require "dgrun.project.command"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local gate = require "host.gate"
local log = require "host.log"
local pipeline = require "dgrun.project.pipeline"
local scripts = require "dgrun.cli.scripts"
local usage = require "dgrun.cli.usage"
local command_words = require "dgrun.cli.words"

local M = {}

---The first comment of a script as its description.
---@param text string
---@return string?
function M.comment(text)
    for line in text:gmatch("[^\n]+") do
        local words = line:match("^%-%-+%s*([^%[%]#!%s].*)$")
        if words and not words:match("^%S+%.lua$") then
            return words
        elseif not line:match("^%-%-") then
            return nil
        end
    end
end

---The actions of a command; dgrun help describes a command without actions.
local function actions(command)
    local rows = {}
    for i, name in ipairs(command.names) do
        rows[i] = { name, command.actions[name].description }
    end
    return command.actions[""] and {} or rows
end

local function described(script)
    scripts.load(script)
    if not scripts.declares(script) then
        return M.comment(script.text) or "(a plain script)", {}
    end
    local value = scripts.declaration(script, { names_only = true })
    if pipeline.is(value) then
        return value.description, usage.rows(value)
    elseif command_of.is(value) then
        return value.description, actions(value)
    end
    return M.comment(script.text) or "(a plain script)", {}
end

local function one(name, clash)
    local ok, description, rows = pcall(function()
        return described(scripts.find(name))
    end)
    if not ok then
        local e = err.object(description)
        local msg = (e.msg or e.code):match("^[^\n]*")
        if e.where and not msg:find(e.where, 1, true) then
            msg = ("%s: %s"):format(e.where, msg)
        end
        description = "cannot be loaded: " .. msg
        rows = {}
    end
    if clash then
        description = description .. "  (a dgrun command has this name: run the script by its path)"
    end
    return description, rows
end

---@param arguments dgrun.cli.arguments
---@return integer
function M.run(arguments)
    if #arguments.rest > 0 then
        err.raise { code = "input.unknown", msg = "dgrun list takes no arguments",
            hint = ("dgrun help %s describes a script."):format(arguments.rest[1]) }
    end
    local root = scripts.project(".")
    if not root then
        log.err("No scripts/ folder here or in a parent folder.\n")
        return 0
    end
    -- Blocks changes: declarations must not make any.
    gate.close()
    local names = scripts.names(root)
    local width = 0
    for _, name in ipairs(names) do
        width = math.max(width, format.width(name))
    end
    local lines = {}
    for _, name in ipairs(names) do
        local description, rows = one(name, command_words.commands[name])
        lines[#lines + 1] = ("%s  %s"):format(format.pad(name, width), description)
        for _, line in ipairs(format.columns(rows, (" "):rep(width + 2) .. "  ")) do
            lines[#lines + 1] = line
        end
    end
    if #lines == 0 then
        log.err("scripts/ contains no scripts.\n")
        return 0
    end
    log.out(table.concat(lines, "\n") .. "\n")
    return 0
end

return M
