-- What a Dockerfile says about its last stage: the environment, the folder, the files of COPY, the
-- command. RUN is counted, and not executed.
local json = require "dgrun.core.json"
local words = require "sandbox.dockerfile_words"

local M = {}

---What the variable PATH is in the images that others build on.
M.BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

---@class sandbox.dockerfile.copy
---@field sources string[]
---@field to string absolute; ends with "/" where it must be a folder
---@field from? string another stage, or an image
---@field texts? string[] of here-documents, which come after the sources

---@class sandbox.dockerfile.recipe
---@field workdir string absolute
---@field env table<string, string>
---@field cmd? string[]
---@field entrypoint? string[]
---@field copies sandbox.dockerfile.copy[]
---@field run integer how many RUN the file has, in all stages

---Joins continued lines and drops comments. A here-document belongs to its instruction.
---@return {name: string, rest: string, texts: string[]}[]
local function instructions(text)
    local found, lines = {}, {}
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        lines[#lines + 1] = line
    end
    local escape = text:match("^#%s*escape%s*=%s*`") and "`" or "\\"
    local continued = "^(.-)%" .. escape .. "%s*$"
    local at, open = 1, nil

    local function here_documents(instruction)
        for dash, mark in instruction.rest:gmatch("<<(%-?)[\"']?([%w_]+)[\"']?") do
            local body = {}
            while lines[at] and (dash == "-" and lines[at]:gsub("^\t+", "") or lines[at]) ~= mark do
                body[#body + 1] = dash == "-" and lines[at]:gsub("^\t+", "") or lines[at]
                at = at + 1
            end
            at = at + 1
            instruction.texts[#instruction.texts + 1] = table.concat(body, "\n") .. "\n"
        end
    end

    while lines[at] do
        local line = lines[at]
        at = at + 1
        local is_skipped = line:match("^%s*#") or open and not line:find("%S")
        local part = not is_skipped and line:match(continued)
        if not is_skipped then
            open = (open or "") .. (part or line)
        end
        if open and not is_skipped and not part or open and not lines[at] then
            local name, rest = open:match("^%s*(%a+)%s+(.-)%s*$")
            if name then
                local instruction = { name = name:upper(), rest = rest, texts = {} }
                found[#found + 1] = instruction
                if instruction.name == "RUN" or instruction.name == "COPY"
                    or instruction.name == "ADD" then
                    here_documents(instruction)
                end
            end
            open = nil
        end
    end
    return found
end

---@return string[]? list where the text is a JSON list of strings
local function json_list(text)
    if text:sub(1, 1) ~= "[" then
        return nil
    end
    local ok, list = pcall(json.decode, text)
    if not ok or type(list) ~= "table" then
        return nil
    end
    for _, word in ipairs(list) do
        if type(word) ~= "string" then
            return nil
        end
    end
    return list
end

local function command(text, stage)
    local list = json_list(text)
    if list then
        return list
    end
    local shell = { unpack(stage.shell) }
    shell[#shell + 1] = text
    return shell
end

---@return string # absolute, without "." and ".."; a "/" at the end stays
function M.absolute(path, workdir)
    local parts = {}
    local whole = path:sub(1, 1) == "/" and path or workdir .. "/" .. path
    for part in whole:gmatch("[^/]+") do
        if part == ".." then
            parts[#parts] = nil
        elseif part ~= "." then
            parts[#parts + 1] = part
        end
    end
    local is_folder = whole:find("/%.?$") and #parts > 0
    return "/" .. table.concat(parts, "/") .. (is_folder and "/" or "")
end

---What variables mean at this place: ENV wins over ARG.
local function variables_of(stage)
    return setmetatable({}, { __index = function(_, name)
        return stage.env[name] or stage.args[name] or (name == "PATH" and M.BASE_PATH or nil)
    end })
end

local function new_stage()
    return { env = {}, args = {}, copies = {}, workdir = "/",
        shell = { "/bin/sh", "-c" } }
end

---A stage that goes on from another one has what that one has, except the arguments.
local function stage_from(parent)
    local stage = new_stage()
    for name, value in pairs(parent or {}) do
        if name == "env" or name == "copies" then
            for key, item in pairs(value) do
                stage[name][key] = item
            end
        elseif name ~= "args" then
            stage[name] = value
        end
    end
    return stage
end

local step = {}

function step.ARG(stage, instruction, file)
    for _, word in ipairs(words.split(instruction.rest, variables_of(stage))) do
        local name, default = word:match("^([%w_]+)=(.*)$")
        name = name or word
        local value = file.args[name] or default
        if value == nil and stage ~= file.head then
            value = file.head.args[name]
        end
        stage.args[name] = value
    end
end

function step.ENV(stage, instruction)
    local variables = variables_of(stage)
    local name, rest = instruction.rest:match("^([%w_]+)%s+(.*)$")
    if name then
        stage.env[name] = words.expand(rest, variables)
        return
    end
    local values = {}
    for _, word in ipairs(words.split(instruction.rest, variables)) do
        local key, value = word:match("^([^=]+)=(.*)$")
        values[key or word] = value
    end
    for key, value in pairs(values) do
        stage.env[key] = value
    end
end

function step.WORKDIR(stage, instruction)
    local path = words.expand(instruction.rest, variables_of(stage))
    stage.workdir = M.absolute(path, stage.workdir):gsub("(.)/$", "%1")
end

function step.COPY(stage, instruction)
    local rest, flags = instruction.rest, {}
    while rest:match("^%-%-") do
        local flag
        flag, rest = rest:match("^(%S+)%s*(.*)$")
        local name, value = flag:match("^%-%-(%w+)=(.*)$")
        flags[name or flag:sub(3)] = value or ""
    end
    local variables = variables_of(stage)
    local list = json_list(rest)
    list = list or words.split(rest, variables)
    local copy = { from = flags.from and words.expand(flags.from, variables), sources = {} }
    for i = 1, #list - 1 do
        if not list[i]:match("^<<") then
            copy.sources[#copy.sources + 1] = list[i]
        end
    end
    local target = list[#list] or "."
    copy.to = M.absolute(target, stage.workdir)
    if (target == "." or target:match("/%.$")) and copy.to:sub(-1) ~= "/" then
        copy.to = copy.to .. "/"
    end
    copy.texts = #instruction.texts > 0 and instruction.texts or nil
    stage.copies[#stage.copies + 1] = copy
end

step.ADD = step.COPY

function step.RUN(_, _, file)
    file.run = file.run + 1
end

function step.SHELL(stage, instruction)
    stage.shell = json_list(instruction.rest) or stage.shell
end

function step.CMD(stage, instruction)
    stage.cmd = command(instruction.rest, stage)
end

function step.ENTRYPOINT(stage, instruction)
    stage.entrypoint = command(instruction.rest, stage)
    stage.cmd = nil
end

---Reads the last stage, or the one that `target` names.
---@param text string
---@param opts? {args?: table<string, string>, target?: string} args: of the build
---@return sandbox.dockerfile.recipe
function M.parse(text, opts)
    opts = opts or {}
    local head = new_stage()
    local file = { head = head, args = opts.args or {}, run = 0 }
    local stage, stages = head, {}
    for _, instruction in ipairs(instructions(text)) do
        if instruction.name == "FROM" then
            if stage.name and stage.name == opts.target then
                break
            end
            local given = instruction.rest:gsub("^%-%-%S+%s+", "")
            local list = words.split(given, variables_of(head))
            local base, as = (list[1] or ""):lower(), (list[2] or ""):lower()
            stage = stage_from(stages[base])
            stage.name = as == "as" and list[3] and list[3]:lower() or nil
            if stage.name then
                stages[stage.name] = stage
            end
        elseif step[instruction.name] then
            step[instruction.name](stage, instruction, file)
        end
    end
    return { workdir = stage.workdir, env = stage.env, cmd = stage.cmd,
        entrypoint = stage.entrypoint, copies = stage.copies, run = file.run }
end

return M
