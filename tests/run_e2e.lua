-- The end-to-end tests: dgrun tests/run_e2e.lua [pattern of the path]
package.path = "tests/?.lua"
require "support.memory_folder" ()
require("support.busted")("tests/e2e", ...)
