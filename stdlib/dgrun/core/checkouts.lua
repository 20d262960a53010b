-- The folders that hold a commit's files. Messages name a file by its path in the repository: the
-- folder of a checkout is temporary.
local M = {}

---@type {dir: string, commit: string}[]
local known = {}

---@param dir string folder that holds the files of a commit
---@param commit string full SHA
function M.add(dir, commit)
    for _, checkout in ipairs(known) do
        if checkout.dir == dir then
            checkout.commit = commit
            return
        end
    end
    known[#known + 1] = { dir = dir, commit = commit }
end

---The checkout that holds a path.
---@param path string
---@return {dir: string, commit: string}?
function M.of(path)
    for _, checkout in ipairs(known) do
        if path == checkout.dir or path:sub(1, #checkout.dir + 1) == checkout.dir .. "/" then
            return checkout
        end
    end
end

---A text in which each path below a checkout is the path in the repository, with the commit after
---it: "deploy/fly/fly.toml:5 at 3bb87d4". The folder itself is "the checkout of 3bb87d4".
---@param text string
---@return string
function M.readable(text)
    for _, checkout in ipairs(known) do
        local at, from = text:find(checkout.dir, 1, true)
        while at do
            local short = checkout.commit:sub(1, 7)
            local path, line = text:match("^/([^%s:'\",;()]+)(:?%d*:?%d*)", from + 1)
            local name
            if path then
                from = from + 1 + #path + #line
                if line:sub(-1) == ":" then
                    from, line = from - 1, line:sub(1, -2)
                end
                name = ("%s%s at %s"):format(path, line, short)
            else
                name = "the checkout of " .. short
            end
            text = text:sub(1, at - 1) .. name .. text:sub(from + 1)
            at, from = text:find(checkout.dir, at + #name, true)
        end
    end
    return text
end

return M
