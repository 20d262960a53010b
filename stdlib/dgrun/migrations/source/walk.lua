-- A part of a Python program, see dgrun.migrations.source: reads the files that it is given, and
-- reports their statements. No code of the files is run or imported.
return [==[
MEMORY = 1 << 30


# Follows what a revision does without running it. Where only a run could decide, it takes all
# branches.
class Walk(Statements, Expressions, Calls, Names):
    pass


def read(path, dialect):
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source, path)
        text = source.decode("utf-8-sig", errors="replace")
    except SyntaxError as problem:
        return {"error": problem.msg, "line": problem.lineno or 1}
    except (ValueError, RecursionError, MemoryError) as problem:
        return {"error": "%s: %s" % (type(problem).__name__, problem), "line": 1}
    walk = Walk(text.replace("\r\n", "\n"), dialect)
    walk.run(tree)
    return {"items": walk.items}


def commits_each(path):
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    return any(isinstance(node, ast.keyword) and node.arg == "transaction_per_migration"
               and not (isinstance(node.value, ast.Constant) and not node.value.value)
               for node in ast.walk(tree))


def main():
    request = json.load(sys.stdin)
    # Expressions of the file are computed: that must not take all memory.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    files = {path: read(path, request["dialect"]) for path in request["files"]}
    env = request.get("env")
    json.dump({"files": files, "commits_each": bool(env) and commits_each(env)}, sys.stdout)


main()
]==]
