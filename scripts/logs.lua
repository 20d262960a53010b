local dg = require "dgrun"
local json, log = require "dgrun.json", require "host.log"
local args = {...}
dg.fly.logs.stream{ apps={"web"}, follow=true, on_page=function(entries)
    local t = {}
    for i, e in ipairs(entries) do t[i]=json.encode(e).."\n" end
    log.out(table.concat(t))
    return not log.is_open("out")
end, on_trouble=function(app, e) log.err(app.." "..tostring(e or "again").."\n") end}
