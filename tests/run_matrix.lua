-- Every failure at every place: dgrun tests/run_matrix.lua [part of a path [part of a name]]
-- DGRUN_MATRIX=quick takes some points of each kind; without it every point is taken.
package.path = "tests/?.lua"
require "support.runner" ({ folder = "tests/matrix", runner = "tests/run_matrix.lua", at_once = 2 },
    { ... })
