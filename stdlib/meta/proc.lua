---@meta host.proc

---Child processes: argument lists, never a shell. Each child has a session and process group of
---its own and no terminal; its input is /dev/null unless `stdin` is given.
---@class host.proc
local proc = {}

---@class host.proc.options
---@field argv string[] the program, found in the child's PATH, and its arguments
---@field cwd? string
---@field env? table<string, string|host.secret.value|false> changes; false removes
---@field clean_env? boolean the environment is `env` alone
---@field stdin? string|host.secret.value|true true, for spawn alone: a pipe that child:write fills
---@field timeout? number seconds, then the child is stopped
---@field grace? number seconds between SIGTERM and SIGKILL to its group, default 5
---@field limit? integer for run alone: bytes of each output stream, default 16 MiB
---@field read_only? boolean it changes nothing outside: it may run while the gate is closed
---@field seal? string for run alone: stdout becomes a sealed value of this name. It is not masked;
---  what host.dotenv and secret.from_json take out of it is

---@class host.proc.result
---@field status integer the exit status; 128 + signal for a child that a signal ended
---@field signal? integer
---@field stdout string sealed where `seal` is given
---@field stderr string
---@field seconds number

---Runs a child to its end. Waits. A status other than 0 is not an error.
---Errors: proc.not_found, proc.failed, proc.timeout and proc.output_limit (with the last of its
---standard error as `stderr`), cancelled, plan.write_refused.
---@param opts host.proc.options
---@return host.proc.result?
---@return dgrun.err?
function proc.run(opts) end

---Starts a child whose output is read by lines. It is stopped when nothing refers to it.
---@param opts host.proc.options
---@return host.proc.child?
---@return dgrun.err?
function proc.spawn(opts) end

---Runs a child to its end in the place of this process: it reads this process's standard input, and
---gets the signals that are sent to it. What it writes comes out of this process's own streams,
---masked; where standard input and output are both a terminal, the child gets the terminal, and
---nothing is masked. Waits.
---Errors: proc.not_found, proc.failed, cancelled, plan.write_refused.
---@param opts {argv: string[], cwd?: string, env?: table<string, string|host.secret.value|false>}
---@return {status: integer, signal: integer?, seconds: number}?
---@return dgrun.err?
function proc.foreground(opts) end

---@class host.proc.child
local child = {}

---@class host.proc.line
---@field stream "stdout"|"stderr"
---@field line string without its end; pieces of 64 KiB of a longer one
---@field cut? true the next line of this stream goes on with it

---The next line, nil at the end of both streams. Waits. While more than 1 MiB is unread, the
---child is not listened to.
---@return host.proc.line?
---@return dgrun.err?
function child:read() end

---Waits for the child's exit. One that writes much has to be read meanwhile, or it never ends.
---@return {status: integer, signal: integer?, seconds: number}?
---@return dgrun.err?
function child:wait() end

---Ends the child and its group, politely, then firmly. Waits until all is closed.
---@return {status: integer, signal: integer?, seconds: number}?
---@return dgrun.err?
function child:stop() end

---Sends a signal to the child's group.
---@param name? string "TERM" (default), "KILL", "INT", "HUP", "USR1", …
---@return true?
---@return dgrun.err?
function child:kill(name) end

---Writes to the child's standard input, where it was started with stdin = true. Waits until the
---pipe has taken it all. Errors: proc.closed, cancelled.
---@param data string|host.secret.value
---@return true?
---@return dgrun.err?
function child:write(data) end

---The child reads the end of its input.
function child:close_stdin() end

---@return integer
function child:pid() end

---This process; its pid means something only within its namespace.
---@return {pid: integer, namespace: integer, user?: string}
function proc.self() end

---Sets a variable of the environment that children inherit; nil removes it.
---@param name string
---@param value? string
function proc.export(name, value) end

return proc
