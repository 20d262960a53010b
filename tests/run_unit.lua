-- The unit tests: dgrun tests/run_unit.lua [pattern of the path]
package.path = "tests/?.lua"
require "support.memory_folder" ()
local pattern = ...
local files = require "support.spec_files" ("tests/unit", pattern)
if #files > 1 then
    require "support.apart" ("tests/run_unit.lua", files)
else
    require "support.busted" ("tests/unit", pattern)
end
