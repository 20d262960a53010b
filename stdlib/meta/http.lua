---@meta host.http

---HTTP by libcurl on the loop. Any HTTP status is a result; an error is a failed transfer. TLS is
---always verified. A plan refuses all methods except GET and HEAD. The proxies of the environment
---(such as http_proxy) are used, except for addresses of this machine.
---@class host.http
local M = {}

---@class host.http.options
---@field url string http or https
---@field method? string "GET"
---@field headers? table<string, string|host.secret.value>
---@field body? string|host.secret.value
---@field body_file? string path of a file to send
---@field timeout? number seconds for the whole transfer, 60; no default for a stream
---@field connect_timeout? number seconds, 10
---@field limit? integer bytes of the response, 64 MiB
---@field follow? boolean follow redirects, false; a request with a sealed header or body is not
---  sent to another scheme, host or port: http.redirect
---@field ca_file? string trusted certificates, instead of the system's

---@class host.http.answer
---@field status integer
---@field headers table<string, string> names in lower case
---@field body string
---@field url string the final URL, after redirects
---@field seconds number
---@field version string "1.1", "2"

---@param opts host.http.options
---@return host.http.answer?
---@return dgrun.err? http.timeout, http.resolve, http.connect, http.tls, http.reset,
---  http.redirect, http.too_large, http.failed;
---  `sent` shows whether the request may have taken effect: "no"
---  or "maybe"
function M.request(opts) end

---Opens a TCP connection and closes it, to check that something listens there. Sends no data and
---uses no proxy.
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

---A request whose response body is read as it arrives.
---@param opts host.http.options
---@return host.http.stream? after the headers arrived
---@return dgrun.err?
function M.stream(opts) end

return M
