---@meta host.fs

---Small files, read and written synchronously. Failures are fs.not_found, fs.denied, fs.exists,
---fs.too_large, fs.locked or fs.failed; in a plan, writes outside temporary folders are
---plan.write_refused.
---@class host.fs
local M = {}

---@param path string
---@param opts? {limit?: integer, seal?: string} limit: bytes, 64 MiB unless given; with seal the
---  content is a sealed value of that name
---@return (string|host.secret.value)? content
---@return dgrun.err?
function M.read(path, opts) end

---Atomic by default: readers see either the old or the new content. A link at `path` is replaced,
---never followed.
---@param path string
---@param data string
---@param opts? {mode?: string|integer, atomic?: boolean} mode is "0600" unless given
---@return true? ok
---@return dgrun.err?
function M.write(path, data, opts) end

---@param path string
---@param data string
---@return true? ok
---@return dgrun.err?
function M.append(path, data) end

---Creates a private folder (0700). With `parents`, the default, the folder may already exist.
---@param path string
---@param opts? {parents?: boolean}
---@return true? ok
---@return dgrun.err?
function M.mkdir(path, opts) end

---Does not follow links.
---@param path string
---@param opts? {recursive?: boolean}
---@return true? ok
---@return dgrun.err?
function M.remove(path, opts) end

---@param path string
---@param order? "sorted"|"unsorted" by bytes, or in the folder's own order, as in Python's
---  os.listdir
---@return string[]? names
---@return dgrun.err?
function M.list(path, order) end

---@class host.fs.stat
---@field type "file"|"directory"|"link"|"other"
---@field size integer
---@field mtime number
---@field mode integer

---Does not follow links.
---@param path string
---@return host.fs.stat?
---@return dgrun.err?
function M.stat(path) end

---Follows links.
---@param path string
---@return boolean
function M.exists(path) end

---@param from string
---@param to string
---@return true? ok
---@return dgrun.err?
function M.rename(from, to) end

---Copies one file, with its mode.
---@param from string
---@param to string
---@return true? ok
---@return dgrun.err?
function M.copy(from, to) end

---@param target string
---@param path string
---@return true? ok
---@return dgrun.err?
function M.symlink(target, path) end

---A new private folder below TMPDIR; a plan may write there.
---@param prefix? string
---@return string? path
---@return dgrun.err?
function M.temp_dir(prefix) end

---The absolute path, with "." and ".." removed by name.
---@param path string
---@return string
function M.absolute(path) end

---The path with links resolved.
---@param path string
---@return string? path
---@return dgrun.err?
function M.real(path) end

---@return string? path
---@return dgrun.err?
function M.cwd() end

---@class host.fs.lock
local lock = {}

function lock:release() end

---Held until released, collected, or the process ends.
---@param path string
---@return host.fs.lock?
---@return dgrun.err? fs.locked while another process holds the lock
function M.lock(path) end

return M
