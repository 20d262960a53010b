---@meta host.proc

---Child processes: argument lists, never a shell. Each child has its own session and process
---group and no terminal; its input is /dev/null unless `stdin` is given.
---@class host.proc
local proc = {}

---@class host.proc.options
---@field argv string[] the program, found in the child's PATH, and its arguments
---@field cwd? string
---@field env? table<string, string|host.secret.value|false> changes; false removes
---@field clean_env? boolean the environment is only `env`
---@field stdin? string|host.secret.value|true true, only for spawn: a pipe that child:write fills
---@field timeout? number seconds, then the child is stopped
---@field grace? number seconds between SIGTERM and SIGKILL to its group, default 5
---@field limit? integer only for run: bytes of each output stream, default 16 MiB
---@field read_only? boolean it makes no external changes, so it may run while the gate is closed
---@field seal? string only for run: stdout becomes a sealed value of this name. It is not masked;
---  the values that host.dotenv and secret.from_json extract from it are masked

---@class host.proc.result
---@field status integer the exit status; 128 + signal if a signal ended the child
---@field signal? integer
---@field stdout string sealed if `seal` is given
---@field stderr string
---@field seconds number

---Runs a child and waits for its exit. A status other than 0 is not an error.
---Errors: proc.not_found, proc.failed, proc.timeout and proc.output_limit (with the last of its
---standard error as `stderr`), cancelled, plan.write_refused.
---@param opts host.proc.options
---@return host.proc.result?
---@return dgrun.err?
function proc.run(opts) end

---Starts a child whose output is read by lines. It is stopped when no reference to it is left.
---@param opts host.proc.options
---@return host.proc.child?
---@return dgrun.err?
function proc.spawn(opts) end

---Runs a child in the foreground and waits for its exit: the child reads this process's standard
---input and gets the signals sent to this process. Its output goes to this process's streams,
---masked; if standard input and output are both a terminal, the child gets the terminal, and
---nothing is masked.
---Errors: proc.not_found, proc.failed, cancelled, plan.write_refused.
---@param opts {argv: string[], cwd?: string, env?: table<string, string|host.secret.value|false>}
---@return {status: integer, signal: integer?, seconds: number}?
---@return dgrun.err?
function proc.foreground(opts) end

---@class host.proc.child
local child = {}

---@class host.proc.line
---@field stream "stdout"|"stderr"
---@field line string without the newline; longer lines come in pieces of 64 KiB
---@field cut? true the next line of this stream continues this line

---The next line, nil at the end of both streams. Waits. While more than 1 MiB is unread,
---no more output is read from the child.
---@return host.proc.line?
---@return dgrun.err?
function child:read() end

---Waits for the child's exit. Read the output of a child that writes much meanwhile, or it blocks.
---@return {status: integer, signal: integer?, seconds: number}?
---@return dgrun.err?
function child:wait() end

---Stops the child and its group with SIGTERM, then SIGKILL. Waits until everything is closed.
---@return {status: integer, signal: integer?, seconds: number}?
---@return dgrun.err?
function child:stop() end

---Sends a signal to the child's group.
---@param name? string "TERM" (default), "KILL", "INT", "HUP", "USR1", …
---@return true?
---@return dgrun.err?
function child:kill(name) end

---Writes to the child's standard input, if it was started with stdin = true. Waits until all data
---is written to the pipe. Errors: proc.closed, cancelled.
---@param data string|host.secret.value
---@return true?
---@return dgrun.err?
function child:write(data) end

---Closes the child's standard input.
function child:close_stdin() end

---@return integer
function child:pid() end

---Starts a child that outlives this process: in its own session, with no descriptor of this
---process, /dev/null as its input, and the file `output`, private and emptied, as its output.
---Errors: proc.not_found, proc.failed, plan.write_refused, those of files.
---@param opts {argv: string[], output: string, cwd?: string, clean_env?: boolean,
---env?: table<string, string|host.secret.value|false>} argv[1] is a path
---@return host.proc.detached?
---@return dgrun.err?
function proc.detach(opts) end

---@class host.proc.detached
local detached = {}

---@return integer
function detached:pid() end

---@return integer? # its exit status, 128 + signal if a signal ended it; nil while it runs
function detached:status() end

---The build id of this binary: another one for each binary that differs, also in its stdlib.
---@return string # hexadecimal; empty if the linker left none
function proc.build() end

---This process; its pid means something only within its namespace.
---@return {pid: integer, namespace: integer, user?: string}
function proc.self() end

---Sets a variable of the environment that children inherit; nil removes it.
---@param name string
---@param value? string
function proc.export(name, value) end

return proc
