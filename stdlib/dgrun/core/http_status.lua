-- Statuses of HTTP as people write them: 200, "2xx", "200-204", or a list of these.
local M = {}

---The lowest and the highest status of one entry; nil when it is not a status.
local function range_of(one)
    local low, high
    if type(one) == "number" then
        low, high = one, one
    elseif type(one) == "string" then
        local class = one:match("^([1-5])xx$")
        low, high = one:match("^(%d%d%d)%-(%d%d%d)$")
        low = class and class * 100 or tonumber(low or one:match("^%d%d%d$"))
        high = class and low + 99 or tonumber(high) or low
    end
    if not low or low % 1 ~= 0 or low < 100 or high > 599 or low > high then
        return nil
    end
    return { low, high }
end

---The ranges that `expect` names, 200 when it names none.
---@param expect? integer|string|(integer|string)[]
---@return integer[][]? # pairs of the lowest and the highest status
---@return string? fault
function M.ranges(expect)
    local list = type(expect) == "table" and expect or { expect or 200 }
    local ranges = {}
    for i, one in ipairs(list) do
        local range = range_of(one)
        if not range then
            return nil, ('expect must be 200, "2xx", "200-204", or a list of these, not %s')
                :format(tostring(one))
        end
        ranges[i] = range
    end
    if #ranges == 0 then
        return nil, "expect is an empty list"
    end
    return ranges
end

---@param status integer
---@param ranges integer[][]
---@return boolean
function M.is_in(status, ranges)
    for _, range in ipairs(ranges) do
        if status >= range[1] and status <= range[2] then
            return true
        end
    end
    return false
end

return M
