-- The unit tests: dgrun tests/run_unit.lua [part of a path [part of a name]]
package.path = "tests/?.lua"
require "support.runner" ({ folder = "tests/unit", runner = "tests/run_unit.lua", at_once = 3,
    paused = true }, { ... })
