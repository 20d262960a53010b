-- Machines as people name them: by id, by the beginning of an id that no other has, or by name.
local err = require "dgrun.core.err"
local format = require "dgrun.core.format"
local machines = require "dgrun.fly.machines"
local opt = require "host.opt"

local M = {}

local SHOWN = 8

---Those that are not destroyed.
local function living(app)
    local list = {}
    for _, machine in ipairs(machines.list(app)) do
        list[#list + 1] = machine.state ~= "destroyed" and machine or nil
    end
    return list
end

local function matches(list, word)
    for _, key in ipairs { "id", "name" } do
        for _, machine in ipairs(list) do
            if machine[key] == word then
                return { machine }
            end
        end
    end
    local found = {}
    for _, machine in ipairs(list) do
        if word ~= "" and machine.id:sub(1, #word) == word then
            found[#found + 1] = machine
        end
    end
    return found
end

local function called(machine)
    return machine.name and ("%s (%s)"):format(machine.id, machine.name) or machine.id
end

local function names_of(list)
    local names = {}
    for i, machine in ipairs(list) do
        names[i] = i <= SHOWN and called(machine) or nil
    end
    names[#names + 1] = #list > SHOWN and ("%d more"):format(#list - SHOWN) or nil
    return format.list(names)
end

local function refuse_ambiguous(app, word, found)
    err.raise { code = "input.ambiguous_machine", op = "fly.machines.find",
        msg = ("%s has %d machines whose id begins with '%s'"):format(app, #found, word),
        hint = "Matches: " .. names_of(found) .. "." }
end

---@param apps string[]
local function refuse_unknown(apps, word, list)
    local known = {}
    for _, machine in ipairs(list) do
        known[#known + 1] = machine.id
        known[#known + 1] = machine.name
    end
    local nearest = opt.nearest(word, known)
    err.raise { code = "fly.not_found", op = "fly.machines.find",
        msg = ("%s no machine '%s'"):format(#apps == 1 and apps[1] .. " has"
            or format.list(apps) .. " have", word),
        hint = nearest and ("Did you mean '%s'?"):format(nearest)
            or #list > 0 and ("Known: %s."):format(names_of(list)) or "No machines exist." }
end

---The machines of these words, in their order, each once.
---Errors: fly.not_found, input.ambiguous_machine.
---@param app string
---@param words string[]
---@return table[] machines as the API shows them
function M.find(app, words)
    local list, result, seen = living(app), {}, {}
    for _, word in ipairs(words) do
        local found = matches(list, word)
        if #found == 0 then
            refuse_unknown({ app }, word, list)
        elseif #found > 1 then
            refuse_ambiguous(app, word, found)
        elseif not seen[found[1].id] then
            seen[found[1].id] = true
            result[#result + 1] = found[1]
        end
    end
    return result
end

---Which of several apps has a machine of this name. A whole id is taken as it is: the machine may
---be gone, and something of it, such as its log, still be there.
---@param apps string[]
---@param word string
---@return string id
---@return string[] apps that can have it
function M.locate(apps, word)
    if word:match "^%x%x%x%x%x%x%x%x%x%x%x%x%x%x$" then
        return word, apps
    end
    local all = {}
    for _, app in ipairs(apps) do
        local list = living(app)
        local found = matches(list, word)
        if #found > 1 then
            refuse_ambiguous(app, word, found)
        elseif found[1] then
            return found[1].id, { app }
        end
        for _, machine in ipairs(list) do
            all[#all + 1] = machine
        end
    end
    return refuse_unknown(apps, word, all)
end

return M
