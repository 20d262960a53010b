std = "luajit"
max_line_length = 100
exclude_files = { "build/**", "node_modules/**" }
files["stdlib/meta"] = { ignore = { "211", "212", "221", "231", "241" } }
files["stdlib/dgrun/core/globals.lua"] = { globals = { "print", "io", "os" }, ignore = { "142" } }
files["tests/unit"] = { std = "luajit+busted" }
files["tests/matrix"] = { std = "luajit+busted" }
files["tests/e2e"] = { std = "luajit+busted" }
files["tests/host"] = { std = "luajit+busted" }
