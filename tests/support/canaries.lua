-- Planted secrets, and the search for them in what left a process: raw, by lines, in fragments,
-- encoded for URLs, JSON, HTML and Python, in base64 in all alignments.
local digest = require "host.digest"
local fs = require "host.fs"

local M = {}

---A piece of a secret this long is a leak too.
local FRAGMENT = 12

---Others of the same kind may run beside this on the same computer.
local own = digest.random_key():gsub("%W", ""):sub(1, 6)

-- Each holds what changes under one of the encodings.
M.token = "fo1_k9Canary+T0ken/" .. own .. "=="
M.composed_token = ("FlyV1 fm2_k9cAnary+T%s/z==,fm2_sec0nd/cAn%s+y=="):format(own, own)
M.password = "pa$$/c4nary@w0rd%" .. own
M.encoded_password = "pa%24%24%2Fc4nary%40w0rd%25" .. own

M.values = {
    SECRET_KEY = [[cAnAry-"]] .. own .. [["-%41-ünïcode/\end]],
    GEMINI_API_KEY = ("-----BEGIN %s-----\n  f1rst+%s/line7h3==\n\nsec0nd?%s&line9k2\n"):format(own,
        own, own),
    GEMINI_SUMMARIZATION_API_KEY = ("sp4ce %s 'tis $(x) <b>&amp; \ttab"):format(own),
    S3_ACCESS_KEY_ID = "AKIA" .. own .. "aryZ",
    -- secrets_on_a_shell_line_spec, which may run beside this, puts its own on command lines:
    -- no piece of it stands without `own`.
    S3_SECRET_ACCESS_KEY = ("c4nary+%s/eq==%%2F&x=%s"):format(own, own),
}

---@param port integer
---@param driver? string "+asyncpg"
---@return string # a URL with the password
function M.url(port, driver)
    return ("postgresql%s://app:%s@127.0.0.1:%d/postgres"):format(driver or "",
        M.encoded_password, port)
end

local function percent(text, safe, format)
    return (text:gsub("[^%w" .. safe .. "]", function(c)
        return (format or "%%%02X"):format(c:byte())
    end))
end

local function escaped(text, set, how)
    return (text:gsub(set, how))
end

---As Python's json.dumps: only ASCII.
local function ascii_json(text)
    return (escaped(text, '[\\"]', "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t"):gsub(
        "[\194-\223][\128-\191]", function(c)
            local a, b = c:byte(1, 2)
            return ("\\u%04x"):format((a - 192) * 64 + b - 128)
        end))
end

local html = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

---All ways to write a value down: name → text.
---@param value string
---@return table<string, string>
function M.forms(value)
    local json = escaped(value, '[\\"]', "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t")
    local forms = {
        raw = value, url = percent(value, "%-._~"), path = percent(value, "%-._~/"),
        lower = percent(value, "%-._~", "%%%02x"),
        form = percent(value, "%-._~ "):gsub(" ", "+"), json = json,
        json_slash = json:gsub("/", "\\/"), json_ascii = ascii_json(value),
        json_control = escaped(value, '[\\"]', "\\%0"):gsub("%c", function(c)
            return ("\\u%04x"):format(c:byte())
        end),
        html = escaped(value, "[&<>\"']", html),
        python = escaped(value, "[\\']", "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t"),
    }
    local i = 0
    for line in value:gmatch("[^\n]+") do
        i = i + 1
        forms["line " .. i] = line:match("^%s*(.-)%s*$")
    end
    for shift = 0, 2 do
        local encoded = digest.base64(("x"):rep(shift) .. value)
        local inner = encoded:sub(math.ceil(shift * 8 / 6) + 1,
            math.floor((shift + #value) * 8 / 6))
        forms["base64 " .. shift] = inner
        forms["base64url " .. shift] = inner:gsub("+", "-"):gsub("/", "_")
    end
    return forms
end

---@class support.canary
---@field name string
---@field value string

---@return support.canary[] # all of them, the parts of the composed ones by themselves
function M.all()
    local list = {
        { name = "the token", value = M.token },
        { name = "the composed token", value = M.composed_token },
        { name = "the password", value = M.password },
        { name = "the encoded password", value = M.encoded_password },
    }
    for part in M.composed_token:gmatch "fm2_[^,]+" do
        list[#list + 1] = { name = "a part of the token", value = part }
    end
    for name, value in pairs(M.values) do
        list[#list + 1] = { name = name, value = value }
    end
    return list
end

---@class support.needles
---@field name string of the canary
---@field texts table<string, string> text → the form that it is

local needles

---What is looked for. A fragment may stand anywhere in a value.
---@return support.needles[]
local function all_needles()
    if needles then
        return needles
    end
    needles = {}
    for i, canary in ipairs(M.all()) do
        local texts = {}
        for j = 1, #canary.value - FRAGMENT + 1 do
            texts[canary.value:sub(j, j + FRAGMENT - 1)] = "a piece"
        end
        for form, text in pairs(M.forms(canary.value)) do
            texts[#text >= 8 and text or canary.value] = form
        end
        needles[i] = { name = canary.name, texts = texts }
    end
    return needles
end

---Adds to `complaints` what stands in a text: each canary once.
---@param text string
---@param where string
---@param complaints string[] each once
---@param only? fun(name: string): boolean which canaries count
function M.search(text, where, complaints, only)
    for _, one in ipairs(all_needles()) do
        for needle, form in pairs((not only or only(one.name)) and one.texts or {}) do
            local at = text:find(needle, 1, true)
            if at then
                local complaint = ("%s (%s) in %s: %q"):format(one.name, form, where,
                    text:sub(math.max(1, at - 30), at + #needle + 30))
                complaints[complaint] = complaints[complaint] or table.insert(complaints, complaint)
                    or true
                break
            end
        end
    end
end

---All files below a folder; a link is its target's text.
---@param skip? fun(path: string): boolean?
function M.search_files(dir, complaints, skip)
    for _, name in ipairs(fs.list(dir) or {}) do
        local path = dir / name
        local stat = fs.stat(path)
        if not stat or skip and skip(path) then
            -- gone meanwhile, or meant to hold them
            goto next
        elseif stat.type == "directory" then
            M.search_files(path, complaints, skip)
        elseif stat.type == "file" then
            M.search(fs.read(path, { limit = 2 ^ 28 }) or "", path, complaints)
        end
        M.search(name, "the name of " .. path, complaints)
        ::next::
    end
end

return M
