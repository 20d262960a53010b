-- Regions, and where machines could be placed: docs/fly/machines-api.md, section 12.
local answer = require "sandbox.answer"
local input = require "sandbox.input"
local json = require "dgrun.core.json"

local M = {}

local NEAREST = "ewr"
local ROOM = 100

local regions = {
    { "ams", "Amsterdam, Netherlands", 52.4, 4.9, "europe" },
    { "arn", "Stockholm, Sweden", 59.6, 17.9, "europe" },
    { "bom", "Mumbai, India", 19.1, 72.9, "asia_pacific" },
    { "cdg", "Paris, France", 49.0, 2.5, "europe" },
    { "dfw", "Dallas, Texas (US)", 32.8, -97.0, "north_america" },
    { "ewr", "Secaucus, NJ (US)", 40.8, -74.1, "north_america" },
    { "fra", "Frankfurt, Germany", 50.0, 8.6, "europe" },
    { "gru", "Sao Paulo, Brazil", -23.4, -46.5, "south_america" },
    { "iad", "Ashburn, Virginia (US)", 39.0, -77.5, "north_america" },
    { "jnb", "Johannesburg, South Africa", -26.1, 28.2, "africa" },
    { "lax", "Los Angeles, California (US)", 33.9, -118.4, "north_america" },
    { "lhr", "London, United Kingdom", 51.5, -0.5, "europe" },
    { "nrt", "Tokyo, Japan", 35.8, 140.4, "asia_pacific" },
    { "ord", "Chicago, Illinois (US)", 42.0, -87.9, "north_america" },
    { "sin", "Singapore, Singapore", 1.4, 104.0, "asia_pacific" },
    { "sjc", "San Jose, California (US)", 37.4, -121.9, "north_america" },
    { "syd", "Sydney, Australia", -33.9, 151.2, "asia_pacific" },
    { "yyz", "Toronto, Canada", 43.7, -79.6, "north_america" },
}
local known = {}
for _, region in ipairs(regions) do
    known[region[1]] = true
end

---@param code string? the nearest when absent
---@return string
function M.check_region(code)
    if not code or code == "" then
        return NEAREST
    elseif not known[code] then
        answer.fail(400, ("invalid_argument: region %s not found"):format(code))
    end
    return code
end

function M.regions()
    local list = json.array {}
    for i, region in ipairs(regions) do
        list[i] = {
            code = region[1], name = region[2], latitude = region[3], longitude = region[4],
            geo_region = region[5], gateway_available = true, requires_paid_plan = false,
            deprecated = false, mpg_available = region[1] == "ams",
        }
    end
    return { regions = list, nearest = NEAREST }
end

---A region as the GraphQL API shows it.
---@param code string
---@return table?
function M.region(code)
    for _, region in ipairs(M.regions().regions) do
        if region.code == code then
            return {
                code = code, name = region.name, latitude = region.latitude,
                longitude = region.longitude, gatewayAvailable = region.gateway_available,
                requiresPaidPlan = region.requires_paid_plan, deprecated = region.deprecated,
            }
        end
    end
end

---Every wanted machine is placed in the first of the given regions.
function M.placements(_, _, body)
    if input.field(body, "org_slug", "string") ~= "personal" then
        answer.fail(404, "organization not found")
    end
    local count = input.field(body, "count", "integer") or 1
    if count < 1 then
        answer.fail(400, "invalid_argument: count must be 1 or more")
    end
    local placed = json.array {}
    for code in (input.field(body, "region", "string") or ""):gmatch("[^,]+") do
        if code ~= "any" then
            placed[#placed + 1] = { region = M.check_region(code), concurrency = ROOM,
                count = #placed == 0 and count or 0 }
        end
    end
    placed[1] = placed[1] or { region = NEAREST, count = count, concurrency = ROOM }
    return { regions = placed }
end

return M
