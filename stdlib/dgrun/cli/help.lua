-- dgrun help and dgrun list: scripts, commands and their inputs as text.
local arguments_of = require "dgrun.cli.arguments"
local builtins = require "dgrun.cli.builtins"
local check = require "dgrun.core.check"
local command_of = require "dgrun.project.command"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local gate = require "host.gate"
local inputs = require "dgrun.cli.inputs"
local log = require "host.log"
local pipeline = require "dgrun.project.pipeline"
local scripts = require "dgrun.cli.scripts"

local M = {}

local function placeholder(input)
    if input.type == "choice" then
        return table.concat(input.choices, "|")
    end
    return input.type == "integer" and "N" or input.type == "seconds" and "TIME"
        or input.name:upper()
end

---The usage of an input: "--ref REF", "--allow-older".
---@return string
local function usage(input)
    local short = input.short and ("-%s, "):format(input.short) or ""
    if input.positional then
        return placeholder(input) .. (input.many and "..." or "")
    elseif input.type ~= "boolean" then
        return short .. inputs.flag(input.name) .. " " .. placeholder(input)
    end
    return short .. inputs.flag(input.default and "no_" .. input.name or input.name)
end

---One line: "dgrun exec WHERE [--machine MACHINE] -- COMMAND..."
---@param called string "exec"
---@param face dgrun.cli.face
---@param brief? boolean without optional inputs
---@return string
function M.line(called, face, brief)
    local parts = { "dgrun " .. called, face.usage ~= "" and face.usage or nil }
    local function add(input)
        local text = usage(input):gsub("^%-%a, ", "")
        parts[#parts + 1] = input.required and text or "[" .. text .. "]"
    end
    for _, input in ipairs(face.arguments or {}) do
        add(input)
    end
    for _, input in ipairs(face.inputs) do
        if not brief or input.required then
            add(input)
        end
    end
    if face.rest then
        parts[#parts + 1] = ("-- %s..."):format(face.rest:upper())
    end
    return table.concat(parts, " ")
end

---The description of an input: its help, then its default.
---@return string
local function explain(input)
    local note
    if input.required then
        note = "required"
    elseif input.default ~= nil and input.default ~= "" and input.type ~= "boolean" then
        note = "default " .. tostring(input.default)
    end
    local help = input.help or ""
    if not note then
        return help
    end
    return help == "" and note or ("%s (%s)"):format(help, note)
end

---A row for each argument and input: usage, description.
---@param face dgrun.cli.face
---@return string[][]
function M.rows(face)
    local rows = {}
    for _, list in ipairs { face.arguments or {}, face.inputs } do
        for _, input in ipairs(list) do
            rows[#rows + 1] = { usage(input), explain(input) }
        end
    end
    return rows
end

---Usage and description of each built-in command for `dgrun help`.
local function overview_rows()
    local rows = { { "dgrun NAME|FILE [--input value …]",
        "run a script: a name from the nearest scripts/, or a file" } }
    for _, word in ipairs(builtins.names) do
        local command = inputs.builtin(word)
        local action = command.actions[""]
        if not builtins.commands[word].hidden then
            rows[#rows + 1] = { action and M.line(word, action, true)
                or ("dgrun %s %s"):format(word, table.concat(command.names, "|")),
                command.description }
        end
    end
    rows[#rows + 1] = { "dgrun -e 'CODE' [argument …]", "run a line of Lua" }
    return table.concat(format.columns(rows, "  "), "\n")
end

local function option_rows()
    local rows = {}
    for _, option in ipairs(arguments_of.options) do
        rows[#rows + 1] = option.help and {
            (option.short and option.short .. ", " or "") .. option.flag
                .. (option.value and " " .. option.value or ""), option.help }
    end
    return table.concat(format.columns(rows, "  "), "\n")
end

---Prints what dgrun can do.
---@param stream "out"|"err"
function M.overview(stream)
    log[stream](([[
dgrun runs deploy pipelines written in Lua.

%s

Options, before or after the command:
%s

Runs are recorded in .dgrun/state.db, or in the PostgreSQL database that DGRUN_STORE names.

Exit status: 0 done, 1 failed, 2 wrong usage or input, 3 refused by a check,
4 the group is busy, frozen, or lost, 5 superseded by a newer run,
130 or 143 cancelled by SIGINT or SIGTERM.
]]):format(overview_rows(), option_rows()))
end

local function described(called, face, description)
    local lines = { ("%s: %s"):format(called, description or face.description), "",
        "  " .. M.line(called, face) }
    local rows = M.rows(face)
    if #rows > 0 then
        lines[#lines + 1] = ""
    end
    for _, line in ipairs(format.columns(rows, "  ")) do
        lines[#lines + 1] = line
    end
    return table.concat(lines, "\n") .. "\n"
end

---A command as a whole: its inputs, or its actions.
local function whole(called, command)
    if command.actions[""] then
        return described(called, command.actions[""], command.description)
    end
    local rows = {}
    for i, name in ipairs(command.names) do
        local action = command.actions[name]
        rows[i] = { M.line(("%s %s"):format(called, name), action, true), action.description }
    end
    return ("%s: %s\n\n%s\n\n%sdgrun help %s ACTION shows the inputs of an action.\n"):format(
        called, command.description, table.concat(format.columns(rows, "  "), "\n"),
        command.default and ("Without an action: %s. "):format(command.default) or "", called)
end

---@param action? string
local function of_builtin(word, action)
    local command = inputs.builtin(word)
    if action and command.actions[action] then
        return described(word .. " " .. action, command.actions[action])
    end
    return whole(word, command) .. (command.details and "\n" .. command.details or "")
end

---The first comment of a script as its description.
---@param text string
---@return string?
local function comment(text)
    for line in text:gmatch("[^\n]+") do
        local words = line:match("^%-%-+%s*([^%[%]#!%s].*)$")
        if words and not words:match("^%S+%.lua$") then
            return words
        elseif not line:match("^%-%-") then
            return nil
        end
    end
end

---@param action? string of a command
local function of_script(word, action)
    local script = scripts.find(word)
    scripts.load(script)
    if not scripts.declares(script) then
        return ("%s: %s\n\nA plain script, %s: it receives its arguments unchanged.\n"):format(
            script.name, comment(script.text) or "no description", script.path)
    end
    gate.close()
    local value = scripts.declaration(script, { names_only = true })
    if pipeline.is(value) then
        return described(script.name, value)
    elseif not command_of.is(value) then
        return ("%s: a plain script, %s\n"):format(script.name, script.path)
    elseif value.actions[""] or not action then
        return whole(script.name, value)
    end
    check.known(action, value.actions, ("dgrun %s has no action"):format(script.name),
        "input.unknown")
    return described(script.name .. " " .. action, value.actions[action])
end

---dgrun help [NAME [ACTION]]
---@param _ table
---@param line dgrun.cli.arguments
function M.run(_, line)
    local word, second, third = unpack(line.rest)
    if not word or word == "help" then
        M.overview("out")
    elseif word == "plan" and second then
        log.out(of_script(second, third))
    elseif builtins.commands[word] then
        log.out(of_builtin(word, second))
    else
        log.out(of_script(word, second))
    end
end

-- dgrun list.

---The actions of a command; dgrun help describes a command without actions.
local function action_rows(command)
    local rows = {}
    for i, name in ipairs(command.names) do
        rows[i] = { name, command.actions[name].description }
    end
    return command.actions[""] and {} or rows
end

---@return string description
---@return string[][] rows
local function summary(script)
    scripts.load(script)
    local value = scripts.declares(script)
        and scripts.declaration(script, { names_only = true })
    if pipeline.is(value) then
        return value.description, M.rows(value)
    elseif command_of.is(value) then
        return value.description, action_rows(value)
    end
    return comment(script.text) or "(a plain script)", {}
end

---A broken script has its error as the description.
local function summary_of(name)
    local ok, description, rows = pcall(function()
        return summary(scripts.find(name))
    end)
    if not ok then
        local e = err.object(description)
        local msg = (e.msg or e.code):match("^[^\n]*")
        if e.where and not msg:find(e.where, 1, true) then
            msg = ("%s: %s"):format(e.where, msg)
        end
        description, rows = "cannot be loaded: " .. msg, {}
    end
    if builtins.commands[name] then
        description = description .. "  (a dgrun command has this name: run the script by its path)"
    end
    return description, rows
end

---dgrun list: the scripts of the nearest scripts/, each with its description and inputs.
function M.list()
    local root = scripts.project(".")
    if not root then
        log.err("No scripts/ folder here or in a parent folder.\n")
        return
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
        local description, rows = summary_of(name)
        lines[#lines + 1] = ("%s  %s"):format(format.pad(name, width), description)
        for _, line in ipairs(format.columns(rows, (" "):rep(width + 2) .. "  ")) do
            lines[#lines + 1] = line
        end
    end
    if #lines == 0 then
        log.err("scripts/ contains no scripts.\n")
        return
    end
    log.out(table.concat(lines, "\n") .. "\n")
end

return M
