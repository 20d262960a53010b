-- Values as people read them.
local log = require "host.log"

local M = {}

---@param n number
---@param noun string
---@param plural? string
---@return string # "1 machine", "2 machines"
function M.count(n, noun, plural)
    return ("%d %s"):format(n, n == 1 and noun or plural or noun .. "s")
end

---@param seconds number
---@return string # "0.4s", "12s", "1m 12s", "2h 3m"
function M.duration(seconds)
    if seconds < 9.95 then
        return ("%.1fs"):format(seconds)
    end
    local s = math.floor(seconds + 0.5)
    if s < 60 then
        return ("%ds"):format(s)
    elseif s < 3600 then
        return ("%dm %ds"):format(math.floor(s / 60), s % 60)
    end
    return ("%dh %dm"):format(math.floor(s / 3600), math.floor(s % 3600 / 60))
end

---How long ago, or how old: two units at most.
---@param seconds number
---@return string # "12s", "5m", "3h 20m", "3d 12h", "40d"
function M.age(seconds)
    local s = math.max(0, math.floor(seconds + 0.5))
    if s < 60 then
        return ("%ds"):format(s)
    elseif s < 3600 then
        return ("%dm"):format(math.floor(s / 60))
    end
    local unit, large, small = "d", math.floor(s / 86400), math.floor(s % 86400 / 3600)
    if large == 0 then
        unit, large, small = "h", small, math.floor(s % 3600 / 60)
    elseif large >= 30 then
        small = 0
    end
    local text = ("%d%s"):format(large, unit)
    return small > 0 and ("%s %d%s"):format(text, small, unit == "d" and "h" or "m") or text
end

---@param seconds number
---@return string # "3h 20m ago"
function M.ago(seconds)
    return M.age(seconds) .. " ago"
end

---A word as a person types it in a shell.
---@param text string
---@return string # v1.4.0, 'it''s late' in quotes
function M.shell_word(text)
    return text:match "^[%w_.,/:@=+-]+$" and text or "'" .. text:gsub("'", "'\\''") .. "'"
end

---@param words string[]
---@return string # the words of a command line, each quoted where it must be
function M.shell_words(words)
    local list = {}
    for i, word in ipairs(words) do
        list[i] = M.shell_word(word)
    end
    return table.concat(list, " ")
end

local units = { s = 1, m = 60, h = 3600, d = 86400 }

---"30m", "1h 30m", "90" or a number as seconds; nil when it is none of these.
---@param text string|number
---@return number?
function M.seconds(text)
    if type(text) == "number" then
        return text >= 0 and text < math.huge and text or nil
    elseif type(text) ~= "string" then
        return nil
    elseif text:match("^%d+$") then
        return tonumber(text)
    end
    local total, rest = 0, text
    repeat
        local number, unit, more = rest:match("^(%d+%.?%d*)([smhd])%s*(.*)$")
        if not number then
            return nil
        end
        total, rest = total + tonumber(number) * units[unit], more
    until rest == ""
    return total
end

---@param names string[]
---@param last? string
---@return string # "a, b and c"
function M.list(names, last)
    if #names < 2 then
        return names[1] or ""
    end
    local most = table.concat(names, ", ", 1, #names - 1)
    return ("%s %s %s"):format(most, last or "and", names[#names])
end

---@param text string
---@return integer # characters, not bytes
function M.width(text)
    return #text:gsub("[\128-\191]", "")
end

-- https://www.unicode.org/versions/Unicode15.0.0/ch03.pdf table 3-7
local characters = {
    "^[\xc2-\xdf][\x80-\xbf]", "^\xe0[\xa0-\xbf][\x80-\xbf]",
    "^[\xe1-\xec\xee\xef][\x80-\xbf][\x80-\xbf]", "^\xed[\x80-\x9f][\x80-\xbf]",
    "^\xf0[\x90-\xbf][\x80-\xbf][\x80-\xbf]", "^[\xf1-\xf3][\x80-\xbf][\x80-\xbf][\x80-\xbf]",
    "^\xf4[\x80-\x8f][\x80-\xbf][\x80-\xbf]",
}

---@param text string
---@param replacement string
---@return string # with the replacement for each byte that is not UTF-8
function M.utf8(text, replacement)
    return (text:gsub("[\x80-\xff]+", function(bytes)
        local parts, at = {}, 1
        while at <= #bytes do
            local part
            for i = 1, #characters do
                part = part or bytes:match(characters[i], at)
            end
            parts[#parts + 1] = part or replacement
            at = at + (part and #part or 1)
        end
        return table.concat(parts)
    end))
end

---The beginning of a text from elsewhere, on one line. It is masked before: a secret of which
---something is missing is not known again.
---@param text string
---@param limit integer bytes
---@return string
function M.excerpt(text, limit)
    text = log.clean(text):gsub("%s+", " ")
    if #text <= limit then
        return text
    end
    return text:sub(1, limit):gsub("[\192-\255][\128-\191]*$", "") .. "…"
end

---The last line of what a program printed, cleaned; nil when all lines are blank.
---@param text string
---@return string?
function M.last_line(text)
    local last
    for line in log.clean(text):gmatch "[^\n]+" do
        last = line:match "%S" and line or last
    end
    return last
end

---@param text string
---@param width integer
---@return string # at most so many characters; what is cut off is shown as "…"
function M.cut(text, width)
    if M.width(text) <= width then
        return text
    end
    local at = 1
    for _ = 2, width do
        at = text:match("^[%z\1-\127\192-\255][\128-\191]*()", at) or at + 1
    end
    return text:sub(1, at - 1) .. "…"
end

---Lines of at most so many characters, broken at spaces; a longer word stays whole.
---@param text string
---@param width integer
---@return string[]
function M.wrap(text, width)
    local lines = {}
    for paragraph in (text .. "\n"):gmatch "(.-)\n" do
        local line = ""
        for word in paragraph:gmatch "%S+" do
            local longer = line == "" and word or line .. " " .. word
            if line ~= "" and M.width(longer) > width then
                lines[#lines + 1] = line
                longer = word
            end
            line = longer
        end
        lines[#lines + 1] = line
    end
    return lines
end

---@param text string
---@param width integer
---@return string
function M.pad(text, width)
    return text .. (" "):rep(width - M.width(text))
end

---Rows of cells as aligned lines, two spaces between columns.
---@param rows string[][]
---@param indent? string
---@return string[]
function M.columns(rows, indent)
    local widths = {}
    for _, row in ipairs(rows) do
        for i, cell in ipairs(row) do
            widths[i] = math.max(widths[i] or 0, M.width(cell))
        end
    end
    local lines = {}
    for r, row in ipairs(rows) do
        local cells = {}
        for i, cell in ipairs(row) do
            cells[i] = i < #row and M.pad(cell, widths[i]) or cell
        end
        lines[r] = ((indent or "") .. table.concat(cells, "  ")):gsub("%s+$", "")
    end
    return lines
end

return M
