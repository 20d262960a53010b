-- As much of a Dockerfile as is needed to run its last stage: WORKDIR, ENV, ENTRYPOINT, CMD.
local json = require "dgrun.core.json"

local M = {}

---Instructions, with continued lines joined and comments left out.
local function instructions(text)
    local found, open = {}, nil
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        if not line:match("^%s*#") then
            local part, continued = line:match("^(.-)%s*\\%s*$")
            open = (open and open .. " " or "") .. (part or line)
            if not continued and not part then
                local name, rest = open:match("^%s*(%a+)%s+(.-)%s*$")
                if name then
                    found[#found + 1] = { name = name:upper(), rest = rest }
                end
                open = nil
            end
        end
    end
    return found
end

---JSON form or shell form.
local function command(text)
    if text:sub(1, 1) == "[" then
        local ok, list = pcall(json.decode, text)
        if ok then
            return list
        end
    end
    return { "/bin/sh", "-c", text }
end

local function add_environment(environment, text)
    local name, rest = text:match("^([%w_]+)%s+(.*)$")
    if name and not text:match("^[%w_]+=") then
        environment[name] = rest
        return
    end
    for key, value in text:gmatch('([%w_]+)=("?[^"%s]*"?)') do
        environment[key] = value:gsub('^"(.*)"$', "%1")
    end
end

---@param text string
---@return {workdir: string, env: table<string, string>, entrypoint?: string[], cmd?: string[]}
function M.parse(text)
    local image = { workdir = "/", env = {} }
    for _, one in ipairs(instructions(text)) do
        if one.name == "FROM" then
            image = { workdir = "/", env = {} }
        elseif one.name == "WORKDIR" then
            image.workdir = one.rest
        elseif one.name == "ENV" then
            add_environment(image.env, one.rest)
        elseif one.name == "ENTRYPOINT" then
            image.entrypoint = command(one.rest)
        elseif one.name == "CMD" then
            image.cmd = command(one.rest)
        end
    end
    return image
end

return M
