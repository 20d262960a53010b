-- A part of a Python program, see dgrun.migrations.source: how the statements of a revision
-- file are followed, and what is found.
return [==[
LIMIT, DEPTH, STEPS = 200, 20, 200000
NOWHERE = ast.Pass(lineno=1, end_lineno=0, col_offset=0, end_col_offset=0)
FAILS = Unknown()  # the value of a function that always raises
ENDS = ("return", "raise", "break", "continue")


class Scope(dict):
    def __init__(self, outer=None):
        super().__init__()
        self.outer, self.returned = outer, []

    def find(self, name):
        scope = self
        while scope is not None:
            if name in scope:
                return scope[name]
            scope = scope.outer
        return None


class TooLong(Exception):
    pass


class Statements:
    def __init__(self, text, dialect):
        self.lines = text.encode().split(b"\n")
        self.dialect, self.writer = dialect, Writer(dialect)
        self.items, self.said = [], {}
        # unsure: whether the statement is reached at all, only a run could tell.
        self.depth = self.steps = self.unsure = 0
        self.module = Scope()
        self.connection = Connection()

    # What is found

    def emit(self, node, texts, source=None):
        for text in texts:
            item = {"sql": text, "line": node.lineno}
            if isinstance(source, Text) and source.line:
                item["line"], item["lined"] = source.line, source.lined
            self.items.append(item)

    def unread(self, node, reason, words=""):
        words = words.replace("_", " ")
        if node.lineno in self.said:
            self.said[node.lineno]["words"] += " " + words
            return
        item = {"unread": self.source(node), "line": node.lineno, "reason": reason, "words": words}
        self.said[node.lineno] = item
        self.items.append(item)

    def source(self, node):
        lines = self.lines[node.lineno - 1:node.end_lineno]
        if not lines:
            return "?"
        lines[-1] = lines[-1][:node.end_col_offset]
        lines[0] = lines[0][node.col_offset:]
        return " ".join(b" ".join(lines).decode(errors="replace").split())

    def run(self, tree):
        try:
            self.block(tree.body, self.module)
            upgrade = self.module.find("upgrade")
            if isinstance(upgrade, Function):
                if self.call_function(upgrade, [], {}, upgrade.node) is FAILS:
                    self.unread(upgrade.node.body[-1], "upgrade raises an exception")
            else:
                self.unread(tree.body[0] if tree.body else NOWHERE,
                            "the file defines no function 'upgrade'")
        except (TooLong, RecursionError, MemoryError):
            self.stop("the file is too long to be followed")
        except Exception as problem:
            self.stop("the file could not be followed: %s: %s" % (type(problem).__name__, problem))

    def stop(self, reason):
        self.items.append({"unread": "upgrade", "line": 1, "words": "", "reason": reason})

    # Statements

    def block(self, body, scope):
        for node in body:
            end = getattr(self, "on_" + type(node).__name__, self.on_other)(node, scope)
            if end in ENDS:
                return end
        return None

    def on_other(self, node, scope):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, scope)

    def on_Expr(self, node, scope):
        self.value(node.value, scope, True)

    def on_Assign(self, node, scope):
        value = self.value(node.value, scope)
        for target in node.targets:
            self.assign(target, value, scope)

    def on_AnnAssign(self, node, scope):
        if node.value is not None:
            self.assign(node.target, self.value(node.value, scope), scope)

    def on_AugAssign(self, node, scope):
        if isinstance(node.target, ast.Name):
            old = scope.find(node.target.id)
            scope[node.target.id] = self.operation(node, old if node.target.id in scope or old
                                                   else UNKNOWN, self.value(node.value, scope))
        else:
            self.assign(node.target, self.value(node.value, scope), scope)

    def assign(self, target, value, scope):
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            plain = not any(isinstance(item, ast.Starred) for item in target.elts)
            known = plain and isinstance(value, (list, tuple)) and len(value) == len(target.elts)
            for i, item in enumerate(target.elts):
                self.assign(item, value[i] if known else value if isinstance(value, Rows)
                            else UNKNOWN, scope)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, UNKNOWN, scope)
        elif isinstance(target, (ast.Attribute, ast.Subscript)):
            base = self.value(target.value, scope)
            if isinstance(base, Rows):
                self.changes_rows(target, base)
            elif isinstance(base, Object) and isinstance(target, ast.Attribute):
                old = base.values.get(target.attr, value)
                base.values[target.attr] = self.either(old, value) if self.unsure and not same(
                    old, value) else value
            elif isinstance(target, ast.Subscript) and isinstance(base, (dict, list)):
                self.put(base, self.value(target.slice, scope), value)

    def put(self, base, key, value):
        try:
            base[key] = value
        except (TypeError, IndexError):
            if isinstance(base, list):
                base.append(value)

    def changes_rows(self, node, rows):
        if not rows.session.changed:
            rows.session.changed = True
            self.unread(node, "the session writes rows that the file changes one by one")

    def on_If(self, node, scope):
        known = truth(self.value(node.test, scope))
        if known is not None:
            return self.block(node.body if known else node.orelse, scope)
        return self.ways([node.body, node.orelse], scope)

    # All branches are taken, each from the same start. A variable that differs afterwards is
    # unknown.
    def ways(self, blocks, scope):
        start, outcomes, ends = dict(scope), [], []
        self.unsure += 1
        for body in blocks:
            scope.clear()
            scope.update(start)
            end = self.block(body, scope)
            ends.append(end)
            if end is None:
                outcomes.append(dict(scope))
        self.unsure -= 1
        scope.clear()
        scope.update(outcomes[0] if outcomes else start)
        for other in outcomes[1:]:
            for name in set(scope) | set(other):
                mine = name in scope and name in other
                if not (mine and same(scope[name], other[name])):
                    scope[name] = self.either(scope.get(name), other.get(name))
        return ends[0] if not outcomes and len(set(ends)) == 1 else None

    def either(self, a, b):
        for one, other in ((a, b), (b, a)):
            # A value that may be a connection is treated as one; so are rows.
            if isinstance(one, (Op, Batch, Context, Connection, Rows)):
                return one
        return UNKNOWN

    def on_For(self, node, scope):
        source = self.value(node.iter, scope)
        values = self.elements(source)
        if values is None or len(values) > LIMIT:
            self.assign(node.target, self.element(source), scope)
            self.ways([node.body, []], scope)
            return self.block(node.orelse, scope)
        for value in values:
            self.assign(node.target, value, scope)
            end = self.block(node.body, scope)
            if end in ("return", "raise"):
                return end
            if end == "break":
                return None
        return self.block(node.orelse, scope)

    on_AsyncFor = on_For

    # The elements of an iterable, None where they are not known.
    def elements(self, value):
        if isinstance(value, (list, tuple, range)):
            return list(value[:LIMIT + 1])
        if isinstance(value, dict):
            return list(value)
        return None

    def element(self, value):
        if isinstance(value, Query):
            return Rows(session=value.session)
        return value if isinstance(value, Rows) else UNKNOWN

    def on_While(self, node, scope):
        if truth(self.value(node.test, scope)) is not False:
            self.ways([node.body, []], scope)
        return self.block(node.orelse, scope)

    def on_With(self, node, scope):
        entered = []
        for item in node.items:
            value = self.value(item.context_expr, scope)
            entered.append((item, value))
            if isinstance(value, Autocommit):
                self.emit(item.context_expr, ["COMMIT"])
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value, scope)
        end = self.block(node.body, scope)
        for item, value in reversed(entered):
            if isinstance(value, Autocommit):
                self.emit(item.context_expr, ["BEGIN"])
            elif isinstance(value, Batch) and value.copies:
                self.emit(item.context_expr, self.writer.copied(value))
        return end

    on_AsyncWith = on_With

    def on_Try(self, node, scope):
        end = self.block(node.body, scope)
        if end is None:
            end = self.block(node.orelse, scope)
        if node.handlers:
            self.ways([[]] + [handler.body for handler in node.handlers], scope)
        last = self.block(node.finalbody, scope)
        return last or (end if not node.handlers else None)

    on_TryStar = on_Try

    def on_Match(self, node, scope):
        self.value(node.subject, scope)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                if getattr(part, "name", None):
                    scope[part.name] = UNKNOWN
        return self.ways([case.body for case in node.cases] + [[]], scope)

    def on_Return(self, node, scope):
        scope.returned.append(self.value(node.value, scope) if node.value else None)
        return "return"

    def on_Raise(self, node, scope):
        return "raise"

    def on_Break(self, node, scope):
        return "break"

    def on_Continue(self, node, scope):
        return "continue"

    def on_FunctionDef(self, node, scope):
        scope[node.name] = Function(node=node, scope=scope)

    on_AsyncFunctionDef = on_FunctionDef

    def on_ClassDef(self, node, scope):
        inner = Scope(scope)
        self.block(node.body, inner)
        name = inner.get("__tablename__")
        table = inner.get("__table__")
        if not isinstance(table, Table) and isinstance(name, str):
            options = inner.get("__table_args__")
            options = options if isinstance(options, dict) else {}
            table = Table(name=name, schema=options.get("schema"))
        bases = [self.value(base, scope) for base in node.bases]
        scope[node.name] = Model(table=table if isinstance(table, Table) else None, names=inner,
                                 bases=[base for base in bases if isinstance(base, Model)])

    def on_Import(self, node, scope):
        for alias in node.names:
            name = alias.name if alias.asname else alias.name.split(".")[0]
            scope[alias.asname or name] = self.imported(name)

    def on_ImportFrom(self, node, scope):
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            scope[alias.asname or alias.name] = self.imported(module + "." + alias.name)

    def imported(self, dotted):
        if dotted == "alembic.op":
            return Op()
        if dotted.startswith("alembic.op."):
            return Method(base=Op(), name=dotted[len("alembic.op."):])
        return Ref(dotted=dotted)
]==]
