-- Every failure at every place: dgrun tests/run_matrix.lua [pattern of the path]
-- DGRUN_MATRIX=full takes places too that are like others.
package.path = "tests/?.lua"
require "support.memory_folder" ()
require("support.busted")("tests/matrix", ...)
