-- An input of a pipeline or a command: its declaration, checked when the file is loaded, and which
-- values fit.
local check = require "dgrun.core.check"
local err = require "dgrun.core.err"
local tables = require "dgrun.core.table"

local M = {}

---@class dgrun.input
---@field type? "string"|"boolean"|"integer"|"seconds"|"choice" string when it is absent; seconds
---  are written as "30m" or "2d"
---@field choices? string[] for a choice
---@field default? any false for a boolean when it is absent
---@field required? boolean
---@field many? boolean it may be given several times, and is a list
---@field short? string one letter: "f" for -f
---@field help? string one line
---@field complete? string|fun(input: table): string[] what a shell completes it with: see
---  dgrun.cli.complete

local spec = {
    type = "string?", choices = "table?", default = "any?", required = "boolean?",
    many = "boolean?", short = "string?", help = "string?", complete = "any?",
}

-- Options of dgrun itself, which stand before or after the script's name.
local reserved = { help = true, sandbox = true, trace = true, version = true }
local reserved_short = { h = true, C = true, e = true }

---Does a value fit an input? Returns nil, or what it must be.
local fits = {
    string = function(value) return type(value) ~= "string" and "a string" or nil end,
    boolean = function(value) return type(value) ~= "boolean" and "true or false" or nil end,
    integer = function(value)
        local whole = type(value) == "number" and value % 1 == 0 and math.abs(value) <= 2 ^ 53
        return not whole and "a whole number" or nil
    end,
    seconds = function(value)
        local good = type(value) == "number" and value >= 0 and value < math.huge
        return not good and "a time such as 30m or 2d" or nil
    end,
    choice = function(value, input)
        for _, choice in ipairs(input.choices) do
            if value == choice then
                return nil
            end
        end
        return "one of " .. table.concat(input.choices, ", ")
    end,
}

---What a value must be to fit the input; nil when it fits.
---@return string?
function M.misfit(input, value)
    return fits[input.type](value, input)
end

---@class dgrun.input.declarer who declares it, for messages
---@field op string "dg.pipeline"
---@field code string "pipeline.invalid"

---@param by dgrun.input.declarer
function M.refuse(by, message, ...)
    err.raise { code = by.code, op = by.op, msg = message:format(...) }
end

local function check_choices(by, name, input)
    if input.type ~= "choice" then
        if input.choices then
            M.refuse(by, "input '%s' has choices, but is of type %s", name, input.type)
        end
        return
    end
    if not input.choices or #input.choices == 0 then
        M.refuse(by, "input '%s' is a choice, so it needs choices = { … }", name)
    end
    for _, choice in ipairs(input.choices) do
        if type(choice) ~= "string" then
            M.refuse(by, "input '%s': its choices must be strings", name)
        end
    end
end

local function check_name(by, name, declared)
    if type(name) ~= "string" or not name:match("^[a-z][a-z0-9_]*$") then
        M.refuse(by, "an input's name looks like this_1, not %s", tostring(name))
    elseif reserved[name] then
        M.refuse(by, "an input cannot be named '%s': --%s is an option of dgrun itself", name,
            name)
    elseif type(declared) ~= "table" then
        M.refuse(by, "input '%s' must be a table such as { default = \"main\" }", name)
    end
    local short = declared.short
    if short ~= nil and not (type(short) == "string" and short:match("^%a$")
            and not reserved_short[short]) then
        M.refuse(by, "input '%s': the short form must be one letter other than h, C, and e", name)
    end
end

---@param by dgrun.input.declarer
---@param name string
---@param declared dgrun.input
---@return dgrun.input # a checked copy that knows its name and type
function M.checked(by, name, declared)
    check_name(by, name, declared)
    check.options(declared, spec, ("%s: input '%s'"):format(by.op, name))
    local input = { name = name }
    for key, value in pairs(declared) do
        input[key] = value
    end
    input.type = input.type or input.choices and "choice" or "string"
    check.known(input.type, fits, ("%s: input '%s' has no type"):format(by.op, name), by.code)
    check_choices(by, name, input)
    if input.type == "boolean" and input.default == nil and not input.required then
        input.default = false
    end
    if input.required and input.default ~= nil then
        M.refuse(by, "input '%s' is required, so its default is never used", name)
    elseif input.many and (input.default ~= nil or input.type == "boolean") then
        M.refuse(by, "input '%s' is a list: it cannot have a default or be a boolean", name)
    end
    local misfit = input.default ~= nil and M.misfit(input, input.default)
    if misfit then
        M.refuse(by, "input '%s': the default must be %s", name, misfit)
    end
    return input
end

local function check_shorts(by, inputs)
    local seen = {}
    for _, input in ipairs(inputs) do
        if input.short and seen[input.short] then
            M.refuse(by, "inputs '%s' and '%s' both are -%s", seen[input.short], input.name,
                input.short)
        end
        seen[input.short or 1] = input.name
    end
end

---Lua does not keep the order they were written in: required ones come first, then by name.
---@param by dgrun.input.declarer
---@param declared table<string, dgrun.input>?
---@return dgrun.input[]
function M.list(by, declared)
    local inputs = {}
    for name, one in pairs(declared or {}) do
        inputs[#inputs + 1] = M.checked(by, name, one)
    end
    table.sort(inputs, function(a, b)
        if (a.required or false) ~= (b.required or false) then
            return a.required or false
        end
        return a.name < b.name
    end)
    check_shorts(by, inputs)
    return inputs
end

---@param who? dgrun.input.declarer dg.command
local function checked_arguments(declared, who)
    local arguments = {}
    for i, one in ipairs(declared or {}) do
        if type(one) ~= "table" then
            M.refuse(who, "argument %d must be a table such as { name = \"where\" }", i)
        end
        local copy = tables.merged(one)
        copy.name = nil
        local argument = M.checked(who, one.name, copy)
        argument.positional = true
        if argument.short or argument.type == "boolean" then
            M.refuse(who, "argument '%s' is positional: it cannot have a short form or be "
                .. "a boolean", one.name)
        elseif argument.many and declared[i + 1] then
            M.refuse(who, "argument '%s' takes several words, so it must be the last "
                .. "one", one.name)
        end
        arguments[i] = argument
    end
    return arguments
end

local function has_target(arguments)
    for _, argument in ipairs(arguments) do
        if argument.complete == "target" then
            return true
        end
    end
    return false
end

---The declared inputs, and those that come by themselves.
local function all_inputs(action, arguments)
    local inputs = tables.merged(action.inputs)
    if action.show and not inputs.json then
        inputs.json = { type = "boolean", help = "print JSON" }
    end
    if has_target(arguments) and not inputs.app then
        inputs.app = { help = "an app; it need not belong to an environment", complete = "app" }
    end
    return inputs
end

---The plain words and the inputs of a pipeline, or of an action.
---@param who dgrun.input.declarer
---@param declared dgrun.pipeline.declaration|dgrun.command.action
---@return dgrun.input[] arguments
---@return dgrun.input[] inputs
function M.words(who, declared)
    local arguments = checked_arguments(declared.arguments, who)
    local inputs = M.list(who, all_inputs(declared, arguments))
    local seen = {}
    for _, list in ipairs { arguments, inputs, { declared.rest and { name = declared.rest } } } do
        for _, one in ipairs(list) do
            if seen[one.name] then
                M.refuse(who, "'%s' is declared twice", one.name)
            end
            seen[one.name] = true
        end
    end
    return arguments, inputs
end

return M
