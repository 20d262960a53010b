---@meta host.secret

---Values that can be used but not read. All that the process writes is masked against them.
---@class host.secret
local M = {}

---A value in locked memory. `..` joins it with strings and sealed values to a sealed value, `==`
---compares the bytes, tostring gives `secret(NAME)`; its length is not told.
---@class host.secret.value
---@operator concat(string|number|host.secret.value): host.secret.value
local value = {}

---@return string
function value:name() end

---The same value under another name.
---@param name string
---@return host.secret.value
function value:rename(name) end

---The same value without the newline at its end, where it has no other: what `echo` puts behind a
---value is no part of it.
---@return host.secret.value
function value:line() end

---A JSON string literal, quotes included.
---@return host.secret.value
function value:json() end

---@param kind "empty"|"blank"|"multiline"|"url"
---@return boolean
function value:test(kind) end

---Seals a string and masks it from now on. Prefer sources that never are a Lua string.
---@param name string
---@param text string
---@return host.secret.value
function M.new(name, text) end

---Takes a variable out of the process's environment, so that children do not inherit it. Later
---calls give the same value.
---@param name string
---@return host.secret.value? sealed nil when it is not set
function M.from_env(name) end

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
