-- One source of an environment's secrets, opened: the process environment, a dotenv file, one that
-- age encrypted, or a command that prints JSON. Programs change nothing, so a plan asks them too;
-- what they print goes sealed from the pipe to the parser, and never to a disk, a log or a string.
local dotenv = require "host.dotenv"
local err = require "dgrun.core.err"
local fs = require "host.fs"
local log = require "host.log"
local path = require "dgrun.core.path"
local proc = require "host.proc"
local secret = require "host.secret"

local M = {}

---@class dgrun.secrets.source
---@field label string what people call it: "the environment", ".env.prod"
---@field kind "env"|"dotenv"|"age"|"command"
---@field state "read"|"absent"|"failed"
---@field error? dgrun.err why it failed
---@field get fun(name: string): host.secret.value?
---@field has fun(name: string): boolean has a value that is not empty
---@field line fun(name: string): integer? where it stands in the file
---@field expands fun(name: string): boolean a shell would have put something else in its place
---@field names string[] what a file declares, in its order

local OUTPUT_LIMIT = 4 * 1024 * 1024
local TIMEOUT = 60

local function none() end

---A file of the project, or of the person: ~/keys/prod.txt.
---@param root string of the project
---@param file string as environments.yaml has it
---@return string
function M.place(root, file)
    local home = os.getenv "HOME"
    if file:sub(1, 2) == "~/" and home then
        return home / file:sub(3)
    end
    return root / file
end

---The last words of a program that failed, in one line.
local function said(stderr)
    local lines = {}
    for line in log.clean(secret.redact(stderr or "")):gmatch "[^\n]+" do
        line = line:gsub("^%s+", ""):gsub("%s+$", "")
        if line ~= "" and not line:find("report unexpected or unhelpful errors", 1, true) then
            lines[#lines + 1] = line
        end
    end
    local text = table.concat(lines, "; ", math.max(1, #lines - 2))
    return text == "" and "no output" or #text > 500 and text:sub(1, 497) .. "..." or text
end

---Runs a program for what it prints; nil and why it failed.
---@param opts {argv: string[], cwd: string, stdin?: any, timeout: number, install?: string}
---@return host.secret.value? output sealed
---@return dgrun.err?
local function output_of(opts)
    local name = path.basename(opts.argv[1])
    local result, e = proc.run {
        argv = opts.argv, cwd = opts.cwd, stdin = opts.stdin, timeout = opts.timeout,
        read_only = true, limit = OUTPUT_LIMIT, seal = name,
    }
    if not result then
        if e.code == "cancelled" then
            err.raise(e)
        elseif e.code == "proc.not_found" then
            return nil, err.new { code = e.code,
                msg = ("the program '%s' was not found"):format(opts.argv[1]),
                hint = opts.install or ("Install %s, or correct PATH."):format(name) }
        end
        local words = e.stderr and e.stderr ~= "" and ": " .. said(e.stderr) or ""
        return nil, err.new { code = e.code, msg = e.msg .. words }
    elseif result.status ~= 0 then
        local how = result.signal and "was ended by signal " .. result.signal
            or "exited with status " .. result.status
        return nil, err.new { code = "proc.exit_status", status = result.status,
            msg = ("%s %s: %s"):format(name, how, said(result.stderr)) }
    end
    return result.stdout
end

local function of_entries(entries, source)
    local by_name = {}
    source.names = {}
    for _, entry in ipairs(entries) do
        if not by_name[entry.name] then
            table.insert(source.names, entry.name)
        end
        by_name[entry.name] = entry
    end
    source.get = function(name) return by_name[name] and by_name[name].value end
    source.line = function(name) return by_name[name] and by_name[name].line end
    source.expands = function(name)
        return by_name[name] ~= nil and by_name[name].expands == true
    end
end

local function is_missing(e)
    return e.code == "fs.not_found" or e.code == "dotenv.not_found"
end

---The key of age where it is in the variable itself, taken out of the environment.
---@return host.secret.value?
function M.age_key()
    local key = "(.*\n)?(AGE-SECRET-KEY-|-----BEGIN ).*"
    return secret.env_test("AGE_IDENTITY", "pattern", key) and secret.from_env "AGE_IDENTITY"
        or nil
end

---The key is in the variable itself, or it names a file. Only a name may be read.
local function identity_of(source, root)
    if source.identity then
        return M.place(root, source.identity)
    end
    local key = M.age_key()
    if key then
        return "-", key
    end
    local file = os.getenv "AGE_IDENTITY"
    if file and file ~= "" then
        return M.place(root, file)
    end
end

---Each kind: fills in the source, or returns why it cannot be read.
local open = {}

function open.env(_, _, source)
    source.get = secret.from_env
    source.has = function(name) return secret.env_test(name, "min_length", 1) end
end

function open.dotenv(entry, declared, source)
    local file = M.place(declared.root, entry.file)
    local entries, e = dotenv.read(file)
    if not entries then
        source.state = is_missing(e) and "absent" or "failed"
        if e.msg:sub(1, #file) == file then
            e.msg = entry.file .. e.msg:sub(#file + 1) -- as the entry has it
        end
        return e
    end
    of_entries(entries, source)
end

function open.age(entry, declared, source)
    local file = M.place(declared.root, entry.file)
    if not fs.exists(file) then
        source.state = "absent"
        return
    end
    local identity, key = identity_of(entry, declared.root)
    if not identity then
        return err.new { code = "secrets.no_identity",
            msg = "no identity is configured to decrypt the file",
            hint = ("Write { age: %s, identity: FILE }, or set AGE_IDENTITY to a key or its file.")
                :format(entry.file) }
    elseif not key and not fs.exists(identity) then
        return err.new { code = "secrets.no_identity",
            msg = ("the identity file %s does not exist"):format(entry.identity
                or "in AGE_IDENTITY") }
    end
    local text, e = output_of { argv = { "age", "--decrypt", "-i", identity, file },
        cwd = declared.root, stdin = key, timeout = TIMEOUT,
        install = "Install age: the Debian package is called so." }
    local entries
    if text then
        entries, e = dotenv.parse(text, entry.file)
    end
    if not entries then
        return e
    end
    of_entries(entries, source)
end

function open.command(entry, declared, source)
    local text, e = output_of { argv = entry.argv, cwd = declared.root,
        timeout = entry.timeout or TIMEOUT }
    if not text then
        return e
    elseif text:test "blank" then
        return err.new { code = "json.syntax", msg = "it printed nothing" }
    end
    local entries
    entries, e = secret.from_json(text, { at = entry.at, names = declared.names,
        source = path.basename(entry.argv[1]) })
    if not entries then
        return e
    end
    of_entries(entries, source)
    source.names = {}
end

local function label_of(entry)
    if entry.kind == "env" then
        return "the environment"
    elseif entry.kind ~= "command" then
        return entry.file
    end
    local words = table.concat(entry.argv, " "):gsub("%c", " ")
    return ("`%s`"):format(#words > 50 and words:sub(1, 47) .. "..." or words)
end

---Does not raise: what cannot be read says so.
---@param entry dgrun.secrets.source_entry
---@param declared {root: string, names: string[]} root: of the project; names: those of interest
---@return dgrun.secrets.source
function M.open(entry, declared)
    local source = { label = label_of(entry), kind = entry.kind, state = "read", names = {},
        get = none, line = none, expands = function() return false end }
    source.has = function(name)
        local value = source.get(name)
        return value ~= nil and not value:test "empty"
    end
    local e = open[entry.kind](entry, declared, source)
    if e and source.state ~= "absent" then
        source.state, source.error = "failed", e
    end
    return source
end

return M
