---@meta host.server

---An HTTP server on the loop, by libmicrohttpd: for the local Fly.
---@class host.server
local M = {}

---@class host.server.request
---@field method string
---@field path string decoded
---@field query table<string, string|string[]>
---@field headers table<string, string|string[]> names in lower case
---@field body string
local request = {}

---Sends the response, once.
---@param reply {status: integer, headers?: table<string, string>, body?: string, missing?: integer}
---  missing: the number of announced bytes that are not sent
function request:reply(reply) end

---Resets the connection, without a response.
function request:abort() end

---@class host.server.server
local server = {}

---@return integer
function server:port() end

---Waits for the next request.
---@return host.server.request?
---@return dgrun.err? closed, cancelled
function server:accept() end

function server:close() end

---@param opts {address?: string, port?: integer, body_limit?: integer} address: "127.0.0.1"; port:
---  0 selects a free port; body_limit: bytes of a request's body, larger bodies get 413
---@return host.server.server?
---@return dgrun.err?
function M.listen(opts) end

return M
