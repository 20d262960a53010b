-- Paths as text. Strings also join with `/`: source.dir / "fly.toml".
local M = {}

---@param left string
---@param right string an absolute one stands alone
---@return string
function M.join(left, right)
    left, right = tostring(left), tostring(right)
    if right:sub(1, 1) == "/" or left == "" then
        return right
    end
    if right == "" or right == "." then
        return left
    end
    return (left:gsub("/+$", "")) .. "/" .. (right:gsub("^%./+", ""))
end

---@param path string
---@return string # the folder part; "." for a bare name
function M.dirname(path)
    local dir = path:gsub("/+$", ""):match("^(.*)/[^/]*$")
    if not dir then
        return "."
    end
    return dir == "" and "/" or dir
end

---@param path string
---@return string # the last part
function M.basename(path)
    return path:gsub("/+$", ""):match("([^/]*)$")
end

return M
