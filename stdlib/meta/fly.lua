---@meta host.fly

---Requests to Fly, in a session with a token, addresses, and cookies. stdlib/dgrun/fly/api.lua
---interprets the responses.
---@class host.fly
local M = {}

---@class host.fly.session
local session = {}

---@class host.fly.request
---@field api "machines"|"api"|"uiex" Fly's address, and how the token is sent to it
---@field method string
---@field path string with its query, escaped
---@field body? string|host.secret.value JSON
---@field nonce? string of a machine's lease
---@field timeout? number seconds, 60

---@class host.fly.answer
---@field status integer
---@field text string
---@field headers table<string, string>
---@field request_id? string

---@param opts host.fly.request
---@return host.fly.answer?
---@return dgrun.err?
function session:request(opts) end

---A plan refuses documents that are not pure queries.
---@param opts {document: string, body: string|host.secret.value, timeout?: number}
---@return host.fly.answer?
---@return dgrun.err?
function session:graphql(opts) end

---@param opts {token?: host.secret.value, machines_url?: string, api_url?: string,
---  uiex_url?: string, user_agent?: string}
---@return host.fly.session
function M.session(opts) end

return M
