---@meta host.http

---HTTP by libcurl on the loop. A status is an answer, whatever it says; an error is a transfer that
---failed. TLS is always verified. A plan refuses all but GET and HEAD. The proxies of the
---environment (http_proxy and its like) are used, except for addresses of this machine.
---@class host.http
local M = {}

---@class host.http.options
---@field url string http or https
---@field method? string "GET"
---@field headers? table<string, string|host.secret.value>
---@field body? string|host.secret.value
---@field body_file? string path of a file that is sent
---@field timeout? number seconds for the whole transfer, 60; of a stream none
---@field connect_timeout? number seconds, 10
---@field limit? integer bytes of the answer, 64 MiB
---@field follow? boolean redirects, false; a request with a sealed header or body is not sent to
---  another scheme, host or port: http.redirect
---@field ca_file? string certificates that are trusted, instead of the system's

---@class host.http.answer
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string
---@field url string the last one, after redirects
---@field seconds number
---@field version string "1.1", "2"

---@param opts host.http.options
---@return host.http.answer?
---@return dgrun.err? http.timeout, http.resolve, http.connect, http.tls, http.reset,
---  http.redirect, http.too_large, http.failed;
---  `sent` tells whether the request can have been carried out: "no"
---  or "maybe"
function M.request(opts) end

---Opens a TCP connection and closes it: does something listen there? Nothing is sent, and no proxy
---is asked.
---@param opts {host: string, port: integer, timeout?: number} timeout: seconds, 10
---@return {address: string, seconds: number}?
---@return dgrun.err? as of request
function M.connect(opts) end

---@class host.http.stream
local stream = {}

---@return string? bytes nil at the end
---@return dgrun.err?
function stream:read() end

---@return integer
function stream:status() end

---@return table<string, string>
function stream:headers() end

function stream:close() end

---A request whose body is read while it comes.
---@param opts host.http.options
---@return host.http.stream? after the headers came
---@return dgrun.err?
function M.stream(opts) end

return M
