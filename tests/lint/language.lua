-- Refuses phrases that the style guide replaces, in string literals of Lua and C and in Markdown.
--   build/dev/dgrun tests/lint/language.lua
local proc = require "dgrun.proc"

local phrases = { "is told", "any more", "anew", "so many", "of now", "the one before",
    "gives no sign", "done before", "no json", "take it as seen", "go on where", "stands there",
    "as they should be", "shall", "for whom", "none of them", "was so already", "made by hand",
    "waited for by",
    "gave no", "does not say", "do not say", "given up", "all the same", "took it" }

local function lines_of(path)
    local list = {}
    for line in io.lines(path) do
        list[#list + 1] = line
    end
    return list
end

---The text between quotes. A comment ends the line.
local function literals(line, comment)
    local found, at = {}, 1
    while at <= #line do
        local char = line:sub(at, at)
        if char == '"' or char == "'" then
            local from = at + 1
            repeat
                at = at + (line:sub(at, at) == "\\" and 2 or 1)
            until at > #line or line:sub(at, at) == char
            found[#found + 1] = line:sub(from, at - 1)
        elseif line:sub(at, at + 1) == comment then
            break
        end
        at = at + 1
    end
    return table.concat(found, "\n")
end

---The lines to check of a file, by number.
local function texts(path, lines)
    if path:find "%.md$" then
        return lines
    end
    local comment, list, long = path:find "%.lua$" and "--" or "//", {}, nil
    for i, line in ipairs(lines) do
        if long then
            list[i] = line
            long = not line:find(long, 1, true) and long or nil
        elseif comment == "--" and line:find "%[=*%[$" then
            long = "]" .. line:match "%[(=*)%[$" .. "]"
            list[i] = literals(line, comment)
        else
            local is_comment = comment == "//" and line:find "^%s*/?%*"
            list[i] = is_comment and "" or literals(line:gsub("/%*.-%*/", ""), comment)
        end
    end
    return list
end

---CONTRIBUTING.md lists the phrases; fixtures are applications of their own.
local function is_checked(path)
    return (path:find "%.lua$" or path:find "%.[ch]p?p?$" or path:find "%.md$")
        and path ~= "CONTRIBUTING.md" and path:sub(1, 15) ~= "tests/fixtures/"
end

local count = 0
local listed = proc.run { argv = { "git", "ls-files", "stdlib", "scripts", "host", "*.md" },
    read_only = true }
for path in listed.stdout:gmatch "[^\n]+" do
    for i, text in ipairs(is_checked(path) and texts(path, lines_of(path)) or {}) do
        for _, phrase in ipairs(phrases) do
            if text:lower():find("%f[%w]" .. phrase .. "%f[%W]") then
                print(("%s:%d: %s"):format(path, i, phrase))
                count = count + 1
            end
        end
    end
end
if count > 0 then
    error(count .. " phrases to replace; see the word list in CONTRIBUTING.md")
end
