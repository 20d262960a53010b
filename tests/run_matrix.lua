-- Every failure at every place: dgrun tests/run_matrix.lua [part of a path [part of a name]]
-- DGRUN_MATRIX=full takes places too that are like others.
package.path = "tests/?.lua"
require "support.runner" ({ folder = "tests/matrix", runner = "tests/run_matrix.lua", at_once = 2 },
    { ... })
