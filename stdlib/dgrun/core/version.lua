-- The version, as CMakeLists.txt has it.
return "0.1.0"
