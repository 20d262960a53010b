-- The local Fly of the bench `status`, in a process of its own: every answer takes 50 ms.
local sandbox = require("sandbox").start {
    dir = ..., persist = false, apps = { "draft-app", "draft-app-prod" }, token = "fo1_bench",
    latency = 0.05, pace = 0.001,
}
print(sandbox.url)
require("host.log").flush()
while require("host.time").sleep(3600) do
    print(sandbox.url)
end
