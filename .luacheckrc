std = "luajit"
max_line_length = 100
exclude_files = { "build/**", "node_modules/**" }
files["stdlib/meta"] = { ignore = { "212", "211", "221" } }
files["tests/unit"] = { std = "luajit+busted" }
files["tests/e2e"] = { std = "luajit+busted" }
