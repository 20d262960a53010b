-- The signals that processes of machines meet, by name and by number.
local M = {}

local numbers = {
    SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGILL = 4, SIGTRAP = 5, SIGABRT = 6, SIGFPE = 8,
    SIGKILL = 9, SIGUSR1 = 10, SIGSEGV = 11, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14,
    SIGTERM = 15,
}
local names = {}
for name, number in pairs(numbers) do
    names[number] = name
end

---@param number any
---@return string?
function M.name(number)
    return names[number]
end

---@param name any
---@return integer?
function M.number(name)
    return numbers[name]
end

return M
