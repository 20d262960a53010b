---@meta host.secret

---Values that can be used but not read. They are masked in all output of the process.
---@class host.secret
local M = {}

---A value in locked memory. `..` joins it with strings and sealed values to a sealed value, `==`
---compares the bytes, tostring gives `secret(NAME)`; its length is hidden.
---@class host.secret.value
---@operator concat(string|number|host.secret.value): host.secret.value
local value = {}

---@return string
function value:name() end

---The same value under another name.
---@param name string
---@return host.secret.value
function value:rename(name) end

---The same value without a trailing newline if that is its only newline: the newline that `echo`
---appends is not part of the value.
---@return host.secret.value
function value:line() end

---A JSON string literal, quotes included.
---@return host.secret.value
function value:json() end

---See host.secret.test.
---@param kind string
---@param argument? any
---@return boolean
function value:test(kind, argument) end

---Seals a string and masks it from now on. Prefer sources that are never a Lua string.
---@param name string
---@param text string
---@return host.secret.value
function M.new(name, text) end

---Removes a variable from the process's environment, so that children do not inherit it. Later
---calls return the same value.
---@param name string
---@return host.secret.value? sealed nil when not set
function M.from_env(name) end

---Secrets out of JSON, sealed and masked: an object of names and values (a value may be an object
---that holds it as `value` or `computed`), or a list of objects with `name`, `key` or `label`, and
---`value`. Numbers and booleans are their JSON text, null is skipped. JSON in a string is read too.
---@param text string|host.secret.value
---@param opts? {at?: string[], names?: string[], source?: string} at: their place, by names of
---  members and positions in lists; names: only these; source: for messages
---@return {name: string, value: host.secret.value}[]?
---@return dgrun.err? json.syntax, json.shape; they do not quote the text
function M.from_json(text, opts) end

---Tests a value without revealing it: "empty", "blank", "multiline", "url" (with a list: with one
---of these schemes), "one_of" (a list), "min_length" and "max_length" (characters), "pattern" (a
---POSIX extended regular expression that must match the whole value, over bytes).
---@param v string|host.secret.value
---@param kind "empty"|"blank"|"multiline"|"url"|"one_of"|"min_length"|"max_length"|"pattern"
---@param argument? any
---@return boolean
function M.test(v, kind, argument) end

---The same test of an environment variable, which stays set; false when it is not set.
---@param name string
---@param kind string
---@param argument? any
---@return boolean
function M.env_test(name, kind, argument) end

---@param pattern string
---@return string? reason what is wrong with the value, or nil
function M.pattern_fault(pattern) end

---From now on, a value that equals one of these words is not a secret and is not masked.
---@param words string[]
function M.public(words) end

---@param v any
---@return boolean
function M.is(v) end

---True for values of fewer than 4 bytes, which are not masked.
---@param sealed host.secret.value
---@return boolean
function M.unmasked(sealed) end

---@param text string
---@return string masked
function M.redact(text) end

return M
