-- How the time of the judge of hazards grows with the text: each text against one of half its size,
-- in the same run:
--   dgrun tests/bench/hazards.lua [rounds]
-- A judge that reads a text once takes twice as long for twice the text. Status 1: a ratio above 3.
local hazards = require "dgrun.migrations.hazards"

local LIMIT = 3
local rounds = tonumber((...)) or 5

local texts = {
    { "inserts", 40000, function(n)
        return ("INSERT INTO a (b) VALUES ('cccccccccccccccccccc');\n"):rep(n)
    end },
    { "parentheses", 1000000, function(n) return ("("):rep(n) end },
    { "rows of parentheses", 100000, function(n) return "SELECT " .. ("((1,"):rep(n) end },
    { "a default", 300000, function(n)
        return "ALTER TABLE a ADD b int DEFAULT " .. ("("):rep(n)
    end },
    { "comments", 100000, function(n) return ("/* */"):rep(n) end },
}

---CPU seconds, the fastest of some rounds: what else the computer does is not what is measured.
local function seconds(text)
    local best = math.huge
    for _ = 1, rounds do
        local started = os.clock()
        hazards.judge { sql = text, dialect = "postgresql" }
        best = math.min(best, os.clock() - started)
    end
    return best
end

local status = 0
for _, item in ipairs(texts) do
    local name, count, make = item[1], item[2], item[3]
    local half, whole = seconds(make(count / 2)), seconds(make(count))
    print(("%-22s %7.1f ms  %4.2f times the half"):format(name, whole * 1000, whole / half))
    if whole / half > LIMIT then
        status = 1
    end
end
os.exit(status)
