-- Values from a person: prompted for at the terminal, from files, or from standard input; never
-- from the command line, where other processes and the shell's history can see them.
local check = require "dgrun.core.check"
local dotenv = require "host.dotenv"
local environment = require "dgrun.project.environment"
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local fs = require "host.fs"
local judging = require "dgrun.project.secret_rules"
local log = require "host.log"
local state = require "dgrun.secrets.state"
local stdin = require "host.stdin"
local tty = require "host.tty"

local M = {}

local VALUE_LIMIT = 64 * 1024

-- Refused text is not repeated: it may be a value.
local perhaps_seen = "If that was a secret value, it is now in your shell's history: treat it as "
    .. "exposed."
local others = "Pass the value with --file NAME=PATH, or on standard input with --stdin NAME."

local function refuse(msg, hint, code)
    err.raise { code = code or "input.invalid", op = "secrets.set", msg = msg, hint = hint }
end

-- Options whose value may hold a =.
local takes_assignment = { ["--file"] = true, ["--from"] = true }

---The name of the secret whose value this argument contains, or nil.
local function assigned(word, before)
    if takes_assignment[before] then
        return nil
    elseif word:match "^=" then
        return before:match "^[%a_][%w_]*$" or "NAME"
    elseif word:match "^%-%-[a-z]" then
        return nil -- an option
    end
    return word:match "^%-*([%a_][%w_]*)="
end

---Refuses command-line arguments that contain a value, without repeating the value.
---@param words string[] as typed
function M.refuse_assignments(words)
    for i, word in ipairs(words) do
        local name = assigned(word, words[i - 1] or "")
        if name then
            refuse(("secret values are not accepted on the command line: %s=…"):format(name),
                ("The value is now in your shell's history, and other processes could see it: "
                .. "treat it as exposed,\nand set a new value. dgrun secrets set ENV %s prompts "
                .. "for it without echo."):format(name), "input.secret_in_argument")
        end
    end
end

---@class dgrun.secrets.values.options
---@field app string for the prompt
---@field secrets? table<string, any> those of an environment, whose rules check the values
---@field names? string[] prompted for at the terminal
---@field file? string[] NAME=PATH: the file contains the value
---@field from? string a file of NAME=value lines; "-" is standard input
---@field stdin? string a name, whose value is read from standard input

---@class dgrun.secrets.values.reader
---@field values table<string, host.secret.value>
local Reader = {}
Reader.__index = Reader

function Reader:add(name, value)
    if self.values[name] then
        refuse(("%s was given twice"):format(name))
    elseif value:test "empty" then
        refuse(("%s is empty"):format(name), "dgrun secrets unset removes a secret.")
    end
    self.values[name] = value
end

local function checked(name, option)
    if not state.is_name(name) then
        refuse(("%s: NAME is not a valid secret name"):format(option),
            "Names are letters, digits and underscores. " .. perhaps_seen)
    end
    return name
end

function Reader:files(list)
    for _, text in ipairs(list) do
        local name, path = text:match "^([^=]*)=(.+)$"
        if not name then
            refuse("--file must be NAME=PATH: the file contains the value", perhaps_seen)
        end
        checked(name, "--file NAME=PATH")
        local value, e = fs.read(path, { limit = VALUE_LIMIT, seal = name })
        if not value and e.code == "fs.not_found" then
            refuse(("--file %s=PATH: the file does not exist"):format(name), perhaps_seen)
        end
        self:add(name, check(value, e):line())
    end
end

local function standard_input(name, limit)
    if tty.is_terminal() then
        refuse("standard input is a terminal, which would show the value",
            "Pipe the value in, or omit the option to be prompted without echo.")
    end
    return check(stdin.read(name, { limit = limit }))
end

function Reader:lines(from)
    local entries
    if from == "-" then
        entries = check(dotenv.parse(standard_input("standard input"), "standard input"))
    else
        entries = check(dotenv.read(from))
    end
    if #entries == 0 then
        refuse(("%s contains no NAME=value lines"):format(
            from == "-" and "standard input" or from))
    end
    local last = {}
    for _, entry in ipairs(entries) do
        last[entry.name] = entry.value -- the last assignment wins, as in a shell
    end
    for name, value in pairs(last) do
        self:add(name, value)
    end
end

function Reader:ask(names, app)
    if #names > 0 and not tty.is_terminal() then
        refuse(("cannot prompt for %s: standard input is not a terminal"):format(
            format.list(names)), others)
    end
    for _, name in ipairs(names) do
        local value, e = tty.ask(name, ("%s for %s (not shown): "):format(name, app))
        if not value and (e.code == "tty.many_lines" or e.code == "tty.too_long") then
            e.hint = "Nothing was set. " .. others
        elseif not value and e.code ~= "cancelled" then
            e.hint = e.hint or "Nothing was set."
        end
        self:add(name, check(value, e))
    end
end

---Refuses values that break a rule of the environment.
local function judge(values, secrets)
    local _, rules = environment.declared(secrets)
    local broken = {}
    for name, value in pairs(values) do
        for _, rule in ipairs(judging.broken((rules or {})[name], value)) do
            local advice = judging.advice(rule, value)
            broken[#broken + 1] = ("%s %s%s"):format(name, judging.says(rule),
                advice and "; " .. advice or "")
        end
    end
    table.sort(broken)
    if #broken > 0 then
        refuse(table.concat(broken, "\n"), "Nothing was set. The rules are in "
            .. "environments.yaml.", "secrets.invalid")
    end
end

---Reads all values before anything is set.
---@param opts dgrun.secrets.values.options
---@return table<string, host.secret.value>
function M.read(opts)
    check.options(opts, { app = "string", secrets = "table?", names = "table?", file = "table?",
        from = "string?", stdin = "string?" }, "secrets.values")
    local names, reader = opts.names or {}, setmetatable({ values = {} }, Reader)
    for _, name in ipairs(names) do
        checked(name, "dgrun secrets set ENV NAME")
    end
    local from = opts.from
    if #names == 0 and not opts.file and not from and not opts.stdin then
        if tty.is_terminal() then
            refuse("no secrets were named", "dgrun secrets set ENV NAME prompts for the value of "
                .. "NAME; --from FILE and --file NAME=PATH read files.", "input.missing")
        end
        from = "-"
    end
    if from == "-" and opts.stdin then
        refuse("standard input can be read only once: use --from - or --stdin, not both")
    end
    reader:files(opts.file or {})
    if from then
        reader:lines(from)
    end
    if opts.stdin then
        reader:add(checked(opts.stdin, "--stdin NAME"),
            standard_input(opts.stdin, VALUE_LIMIT):line())
    end
    reader:ask(names, log.clean(opts.app))
    if opts.secrets then
        judge(reader.values, opts.secrets)
    end
    return reader.values
end

return M
