-- The end-to-end tests: dgrun tests/run_e2e.lua [part of a path [part of a name]]
package.path = "tests/?.lua"
require "support.runner" ({ folder = "tests/e2e", runner = "tests/run_e2e.lua", at_once = 5 },
    { ... })
