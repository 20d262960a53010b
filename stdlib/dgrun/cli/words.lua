-- The built-in commands.
local M = {}

---Command words, each a module dgrun.cli.WORD. They take precedence over scripts of the same name.
M.commands = { complete = true, completion = true, help = true, history = true, list = true,
    lock = true, plan = true, resume = true, sandbox = true, show = true, version = true }

return M
