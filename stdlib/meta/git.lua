---@meta host.git

---git primitives: each runs one git command without prompts or hooks, and waits. All take `dir`, a
---folder in the repository, and `timeout`, in seconds; primitives that contact a remote take
---`ssh_command`, to which batch mode is added.
---Errors: git.not_a_repository, git.not_owned, git.unknown_ref, git.invalid_ref,
---git.ambiguous_ref, git.not_a_commit, git.auth_failed, git.remote_unreachable, git.rejected,
---git.tag_exists, git.locked, git.no_identity, git.failed; those of host.proc.run.
---@class host.git
local git = {}

---Checks that git accepts the text as a ref.
---@param ref string
---@param op? string for the message
---@return true?
---@return dgrun.err? # git.invalid_ref
function git.check_ref(ref, op) end

---@param opts {dir: string, timeout: number?}
---@return {git_dir: string, bare: boolean, shallow: boolean, top: string?}?
---@return dgrun.err?
function git.info(opts) end

---@class host.git.resolved
---@field commit string full SHA
---@field kind "tag"|"branch"|"remote_branch"|"commit"
---@field name? string the full name of the tag or branch
---@field remote_commit? string the commit of the remote's branch with this name

---The commit of a ref; nil without an error for an unknown ref. In this order: a full SHA, a tag, a
---branch, a branch of the remote as last fetched, any other revision that git understands.
---@param opts {dir: string, ref: string, remote: string, timeout: number?}
---@return host.git.resolved?
---@return dgrun.err?
function git.resolve(opts) end

---Commits in `to` but not in `from`, newest first; with `path`, only commits that change it.
---@param opts {dir: string, to: string, from: string?, limit: integer?, path: string?,
---  timeout: number?} path: from `dir`
---@return dgrun.git.commit[]?
---@return dgrun.err?
function git.log(opts) end

---@param opts {dir: string, ancestor: string, descendant: string, timeout: number?}
---@return boolean?
---@return dgrun.err?
function git.is_ancestor(opts) end

---The number of commits only in `to` (ahead), and only in `from` (behind).
---@param opts {dir: string, from: string, to: string, timeout: number?}
---@return {ahead: integer, behind: integer}?
---@return dgrun.err?
function git.count(opts) end

---The newest commit that both histories contain. Returns nil and no error if they share none.
---@param opts {dir: string, one: string, other: string, timeout: number?}
---@return string? # full SHA
---@return dgrun.err?
function git.merge_base(opts) end

---Tracked files whose content in the working tree differs from the commit: changed or added files.
---Files that were only renamed are left out.
---@param opts {dir: string, from: string, path: string, timeout: number?} path: from `dir`
---@return string[]? # paths from `dir`
---@return dgrun.err?
function git.changed(opts) end

---Files that git neither tracks nor ignores.
---@param opts {dir: string, path: string, timeout: number?} path: from `dir`
---@return string[]? # paths from `dir`
---@return dgrun.err?
function git.untracked(opts) end

---@class host.git.file
---@field path string
---@field index? string one letter as in git status, "." for unchanged
---@field worktree? string
---@field untracked? true
---@field conflict? true
---@field from? string the path before a rename

---In a plan git must not run the filters of the repository, such as Git LFS: this reads their
---names, and later calls turn them off. `status`, `changed` and `export` are refused before.
---@param opts {dir: string, timeout: number?}
---@return true?
---@return dgrun.err?
function git.know_filters(opts) end

---@param opts {dir: string, timeout: number?}
---@return dgrun.git.status?
---@return dgrun.err?
function git.status(opts) end

---All tags, branches and remote branches, annotated tags resolved to their commits.
---@param opts {dir: string, timeout: number?}
---@return {name: string, commit: string}[]?
---@return dgrun.err?
function git.refs(opts) end

---A value of git's configuration, nil when not set.
---@param opts {dir: string, name: string, timeout: number?}
---@return string?
---@return dgrun.err?
function git.config(opts) end

---@class host.git.export
---@field git_dir string from git.info
---@field commit string full SHA
---@field into string an existing empty folder, absolute; in a plan, a folder of the run
---@field index string path of a temporary index, absolute
---@field timeout? number

---Writes the files of a commit. The repository's own index and working tree stay untouched;
---submodules are empty folders.
---@param opts host.git.export
---@return true?
---@return dgrun.err?
function git.export(opts) end

---@class host.git.remote
---@field dir string
---@field remote string a name or URL
---@field ssh_command? string
---@field timeout? number

---The current refs of the remote, annotated tags resolved to their commits.
---@param opts host.git.remote|{patterns: string[]?}
---@return table<string, string>? # name → commit
---@return dgrun.err?
function git.remote_refs(opts) end

---@class host.git.fetch: host.git.remote
---@field refspecs? string[]
---@field depth? integer
---@field unshallow? boolean
---@field prune? boolean

---@param opts host.git.fetch
---@return true?
---@return dgrun.err?
function git.fetch(opts) end

---Creates a tag, annotated if there is a message.
---@param opts {dir: string, name: string, commit: string, message: string?, timeout: number?}
---@return true?
---@return dgrun.err?
function git.tag(opts) end

---@param opts host.git.remote|{refspecs: string[]}
---@return {flag: string, from: string, to: string, summary: string}[]?
---@return dgrun.err? # git.rejected when the remote rejects a ref
function git.push(opts) end

return git
