-- Makes the reference pages beside this file from the LuaLS annotations of the library:
--   dgrun stdlib/reference/make.lua            writes them
--   dgrun stdlib/reference/make.lua --check    fails when one is not what it should be
local fs = require "host.fs"

local FOLDER = "stdlib/reference"

---What scripts use, by the name they use it under; `prefix` where that is not the functions' own.
local pages = {
    { "dg.preflight", "stdlib/dgrun/preflight.lua", prefix = "dg" },
    { "dg.verify", "stdlib/dgrun/verify.lua", prefix = "dg" },
    { "dg.fly.deploy", "stdlib/dgrun/fly/deploy.lua", prefix = "dg.fly" },
    { "dg.fly.strategies", "stdlib/dgrun/fly/strategies.lua" },
    { "dg.fly.rollback", "stdlib/dgrun/fly/rollback.lua", prefix = "dg.fly" },
    { "dg.fly.build", "stdlib/dgrun/fly/build.lua", prefix = "dg.fly",
        only = { build = true } },
    { "dg.fly.config", "stdlib/dgrun/fly/config.lua" },
    { "dg.fly.machines", "stdlib/dgrun/fly/machine_actions.lua" },
    { "dg.fly.apps", "stdlib/dgrun/fly/apps.lua" },
    { "dg.fly.run", "stdlib/dgrun/fly/command.lua", prefix = "dg.fly" },
    { "dg.fly.lease", "stdlib/dgrun/fly/lease.lua" },
    { "dg.fly.releases", "stdlib/dgrun/fly/releases.lua" },
    { "dg.fly.logs", "stdlib/dgrun/fly/logs.lua" },
    { "dg.fly.image", "stdlib/dgrun/core/image_ref.lua" },
    { "dg.fly.api", "stdlib/dgrun/fly/api.lua" },
    { "dg.fly.no_downgrade", "stdlib/dgrun/fly/no_downgrade.lua", prefix = "dg.fly" },
    { "dg.secrets", "stdlib/dgrun/secrets/init.lua" },
    { "dg.secrets.diff", "stdlib/dgrun/secrets/state.lua", only = {} },
    { "dg.secrets.compare", "stdlib/dgrun/secrets/compare.lua", only = {} },
    { "dg.secrets.values", "stdlib/dgrun/secrets/values.lua", only = {} },
    { "dg.secrets.where", "stdlib/dgrun/secrets/where.lua", only = {} },
    { "dg.secrets.run", "stdlib/dgrun/secrets/run.lua", only = {} },
    { "dg.secrets.required_by", "stdlib/dgrun/secrets/required_by.lua", only = {} },
    { "environments.secrets", "stdlib/dgrun/project/secret_spec.lua", only = {}, tables = false },
    { "dg.cron", "stdlib/dgrun/cron/init.lua" },
    { "dg.probe", "stdlib/dgrun/probe/init.lua" },
    { "dg.status", "stdlib/dgrun/status/init.lua" },
    { "dg.review", "stdlib/dgrun/review/init.lua" },
    { "dg.git", "stdlib/dgrun/git.lua" },
    { "dg.migrations", "stdlib/dgrun/migrations/init.lua" },
    { "dg.http", "stdlib/dgrun/http.lua" },
    { "dg.proc", "stdlib/dgrun/proc.lua" },
    { "dg.task", "stdlib/dgrun/core/task.lua" },
    { "dg.json", "stdlib/dgrun/core/json.lua" },
    { "dg.effect", "stdlib/dgrun/run/effect.lua" },
    { "dg.err", "stdlib/dgrun/core/err.lua" },
}

for _, name in ipairs(assert(fs.list "stdlib/meta")) do
    local module = "host." .. name:match "^(.*)%.lua$"
    pages[#pages + 1] = { module, "stdlib/meta/" .. name, meta = true }
end

---@class reference.block
---@field text string[] description
---@field params {name: string, type: string, text: string}[]
---@field returns {type: string, text: string}[]

---A type, up to the space that ends it; brackets may hold spaces.
local function split_type(text)
    local depth, at = 0, 1
    while at <= #text do
        local c = text:sub(at, at)
        if c:find "[%(%[{<]" then
            depth = depth + 1
        elseif c:find "[%)%]}>]" then
            depth = depth - 1
        elseif c == " " and depth == 0 and not text:sub(1, at - 1):find "[:,|]$" then
            break
        end
        at = at + 1
    end
    return text:sub(1, at - 1), text:sub(at):gsub("^%s*#?%s*", "")
end

---The lines of a comment above a function, continued annotations joined.
local function joined(lines)
    local result = {}
    for _, line in ipairs(lines) do
        local more = line:match "^%-%-%-  (.*)$"
        if more and result[#result] and result[#result]:find "^%-%-%-@" then
            result[#result] = result[#result] .. " " .. more
        else
            result[#result + 1] = line
        end
    end
    return result
end

---@return reference.block
local function block_of(lines)
    local block = { text = {}, params = {}, returns = {} }
    for _, line in ipairs(joined(lines)) do
        local name, rest = line:match "^%-%-%-@param%s+(%S+)%s+(.*)$"
        local returned = line:match "^%-%-%-@return%s+(.*)$"
        if name then
            local kind, text = split_type(rest)
            table.insert(block.params, { name = name, type = kind, text = text })
        elseif returned then
            local kind, text = split_type(returned)
            table.insert(block.returns, { type = kind, text = text })
        elseif not line:find "^%-%-%-@" then
            table.insert(block.text, (line:gsub("^%-%-%-%s?", "")))
        end
    end
    return block
end

local function code(text)
    return "`" .. text:gsub("|", "\\|") .. "`"
end

local function cell(text)
    return (text:gsub("|", "\\|"))
end

---@param parent? string class whose fields it has too
local function class_lines(name, parent, fields, out)
    out[#out + 1] = ("### %s\n"):format(name)
    if parent then
        out[#out + 1] = ("With the fields of %s.\n"):format(parent)
    end
    out[#out + 1] = "| Field | Type | |\n|---|---|---|"
    for _, field in ipairs(fields) do
        local key, rest = field:match "^(%S+)%s+(.*)$"
        local kind, text = split_type(rest)
        out[#out + 1] = ("| `%s` | %s | %s |"):format(key, code(kind), cell(text))
    end
    out[#out + 1] = ""
end

---Text in which indented lines are an example; those between fences are one already.
local function with_examples(lines)
    local out, indent, fenced = {}, nil, false
    local function close()
        if indent then
            local blank = table.remove(out)
            out[#out + 1] = blank ~= "" and blank or nil
            out[#out + 1] = "```\n"
            indent = nil
        end
    end
    for _, line in ipairs(lines) do
        local fence = line:match "^```" ~= nil
        local spaces = not fenced and line:match "^(   +)%S" or nil
        fenced = fenced ~= fence
        if spaces and not indent then
            indent = #spaces
            out[#out + 1] = (out[#out] == "" and "" or "\n") .. "```"
        elseif not spaces and line ~= "" then
            close()
        end
        out[#out + 1] = indent and line:sub(indent + 1) or line
    end
    close()
    return table.concat(out, "\n") .. "\n"
end

local function function_lines(owner, name, arguments, lines, out)
    local block = block_of(lines)
    out[#out + 1] = ("### %s%s(%s)\n"):format(owner, name, arguments)
    if #block.text > 0 then
        out[#out + 1] = with_examples(block.text)
    end
    for _, param in ipairs(block.params) do
        out[#out + 1] = ("- `%s`: %s%s"):format(param.name, code(param.type),
            param.text ~= "" and ", " .. param.text or "")
    end
    for _, result in ipairs(block.returns) do
        out[#out + 1] = ("- returns %s%s"):format(code(result.type),
            result.text ~= "" and ", " .. result.text or "")
    end
    if #block.params + #block.returns > 0 then
        out[#out + 1] = ""
    end
end

---The page of a module, from its file.
local function render(page)
    local module, path, only = page[1], page[2], page.only
    local text = assert(fs.read(path, { limit = 1024 * 1024 }))
    local intro, pending, fields, class, parent = {}, {}, nil, nil, nil
    local classes, functions = {}, {}
    local heading = true
    for line in text:gmatch "(.-)\n" do
        local comment = line:match "^%-%-%s(.*)$" or line == "--" and "" or nil
        heading = heading and comment ~= nil
        if heading then
            intro[#intro + 1] = comment
        elseif page.meta and #intro == 0 and line:find "^%-%-%-@class host" then
            -- The comment of a definition file stands above its module.
            for i, one in ipairs(pending) do
                intro[i] = one:gsub("^%-%-%-%s?", "")
            end
        end
        local declared = line:match "^%-%-%-@class%s+([%w_.]+)"
        local field = line:match "^%-%-%-@field%s+(.*)$"
        local owner, name, arguments = line:match "^function ([%w_]+[.:])([%w_]+)%((.-)%)"
        name = (owner == "M." or (owner and page.meta)) and name or nil
        if declared then
            class, fields = declared, {}
            parent = line:match "^%-%-%-@class%s+[%w_.]+:%s*([%w_.]+)"
            pending = {}
        elseif field and class then
            fields[#fields + 1] = field:gsub("^(%S+)%?", "%1?")
        elseif line:find "^%-%-%-  " and class and #fields > 0 then
            fields[#fields] = fields[#fields] .. " " .. line:gsub("^%-%-%-%s*", "")
        elseif line:find "^%-%-%-" and not line:find "^%-%-%-@meta" then
            pending[#pending + 1] = line
        else
            if class and #fields > 0 then
                class_lines(class, parent, fields, classes)
            end
            class = nil
            if name and #pending > 0 and (not only or only[name]) then
                function_lines(owner == "M." and (page.prefix or module) .. "." or owner, name,
                    arguments, pending, functions)
            end
            pending = {}
        end
    end
    local out = { "# " .. module .. "\n", with_examples(intro) }
    if #functions > 0 then
        out[#out + 1] = "## Functions\n"
        out[#out + 1] = table.concat(functions, "\n") .. "\n"
    end
    if #classes > 0 and page.tables ~= false then
        out[#out + 1] = "## Tables\n"
        out[#out + 1] = table.concat(classes, "\n")
    end
    out[#out + 1] = ("Source: [%s](../../%s)\n"):format(path, path)
    return (table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"))
end

local function index()
    local told = false
    local out = { "# Reference\n", "One page for each module that scripts use, made from the "
        .. "annotations of its source.\nThe strategies are short functions over building blocks: "
        .. "read [their source](../dgrun/fly/strategies.lua)\nas examples for one of your own.\n" }
    for _, page in ipairs(pages) do
        if page.meta and not told then
            told = true
            out[#out + 1] = "\nBelow them, the modules of the C host. They answer `nil, err` where "
                .. "the library raises.\n"
        end
        out[#out + 1] = ("- [%s](%s.md)"):format(page[1], page[1])
    end
    return table.concat(out, "\n") .. "\n"
end

local checking = (...) == "--check"
local stale = {}

local function put(name, text)
    local path = FOLDER / name
    if checking then
        if fs.read(path, { limit = 1024 * 1024 }) ~= text then
            stale[#stale + 1] = path
        end
    else
        assert(fs.write(path, text, { mode = "0644" }))
    end
end

for _, page in ipairs(pages) do
    put(page[1] .. ".md", render(page))
end
put("README.md", index())
if #stale > 0 then
    require("dgrun.core.err").raise { code = "reference.stale",
        msg = "these pages are not what the sources say: " .. table.concat(stale, ", "),
        hint = "Make them again: dgrun stdlib/reference/make.lua" }
end
