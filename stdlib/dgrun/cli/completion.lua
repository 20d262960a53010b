-- dgrun completion bash|zsh|fish: a script for the shell, which gets completions from
-- `dgrun complete`.
local log = require "host.log"

local M = {}

---The script for each shell. It passes the words of the line after --, the word to complete last.
local scripts = {
    bash = [=[
# dgrun completion for bash: eval "$(dgrun completion bash)"
_dgrun() {
    local IFS=$'\n' cur line
    line=${COMP_LINE:0:COMP_POINT}
    local -a words
    IFS=$' \t\n' read -r -a words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[${#words[@]}-1]}
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        [[ $value == "$cur"* ]] && COMPREPLY+=("$(printf '%q' "$value")")
    done < <(dgrun complete -- "${words[@]:1}" 2>/dev/null)
    # For bash, the text before a = or : is a separate word.
    local skip=${cur%"${cur##*[=:]}"}
    COMPREPLY=("${COMPREPLY[@]#"$skip"}")
}
complete -o default -o bashdefault -F _dgrun dgrun
]=],
    zsh = [=[
#compdef dgrun
# dgrun completion for zsh: eval "$(dgrun completion zsh)"
_dgrun() {
    local -a values described
    local value text
    while IFS=$'\t' read -r value text; do
        values+=("$value")
        described+=("${value}${text:+  -- $text}")
    done < <(dgrun complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#values} )) && compadd -l -d described -a values || _files
}
# A file in fpath is the body of the function when it is called for the first time.
if [[ $funcstack[1] == _dgrun ]]; then
    _dgrun "$@"
else
    compdef _dgrun dgrun
fi
]=],
    fish = [=[
# dgrun completion for fish: dgrun completion fish | source
function __dgrun_complete
    dgrun complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null
end
complete -c dgrun -f -a '(__dgrun_complete)'
]=],
}

---@param input {shell: string}
function M.script(input)
    log.out(scripts[input.shell])
end

return M
