-- The unit tests: dgrun tests/run_unit.lua [pattern of the path]
package.path = "tests/?.lua"
require "support.memory_folder" ()
require("support.busted")("tests/unit", ...)
