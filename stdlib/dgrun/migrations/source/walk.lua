-- A part of a Python program, see dgrun.migrations.source: what a revision file does, followed on
-- its syntax tree. No code of the file is run or imported.
return [==[
LIMIT, DEPTH, STEPS, MEMORY = 200, 20, 100000, 1 << 30
BINDS = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|\$(\w*)\$.*?\$\2\$|--[^\n]*|/\*.*?\*/)"""
                   r"""|(\bIN\s*)?(?<![:\w\\]):(\w+)\b(?!:(?!:))|\\:|%\(\w+\)s|%s""", re.S | re.I)
PLACEHOLDERS = re.compile(r"""('(?:[^']|'')*'|"[^"]*")|%\(\w+\)s|%s|%%|\?""", re.S)
# Functions of SQLAlchemy that take a connection and do not write.
READERS = set("""inspect Inspector from_engine Table MetaData Session sessionmaker scoped_session
automap_base reflect create_session AsyncSession Connection Operations configure""".split())
OPENING = set("""connect begin begin_nested cursor connection get_bind raw_connection
execution_options engine bind no_autoflush session session_factory""".split())
HARMLESS = set("""commit rollback close flush invalidate expire_all expunge_all fetchall fetchone
fetchmany in_transaction get_execution_options has_table remove refresh expire detach""".split())
EXPRESSIONS = set("""literal literal_column column cast type_coerce case and_ or_ not_ exists any_
all_ bindparam extract between distinct desc asc nullsfirst nullslast collate over tuple_ label
alias aliased outparam collation""".split())
DRIVERS = ("exec_driver_sql", "executemany", "executescript")
READ_MODULES = set("""abc argparse ast base64 binascii builtins calendar collections contextlib copy
csv dataclasses datetime decimal enum errno fractions functools glob hashlib hmac inspect io
itertools json logging math operator os pathlib pickle pprint random re secrets shutil string struct
sys tempfile textwrap time traceback types typing unicodedata uuid warnings zlib zoneinfo
__future__ sqlalchemy alembic typing_extensions""".split())
FAILS = Unknown()  # the value of a function that always raises
LOGS = set("debug info warning warn error exception critical log msg bind".split())
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


# Follows what a revision does without running it. Where only a run could decide, it takes all
# branches.
class Walk:
    def __init__(self, text, dialect):
        self.text, self.dialect, self.writer = text, dialect, Writer(dialect)
        self.items, self.said = [], {}
        self.depth = self.steps = 0
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
        return " ".join((ast.get_source_segment(self.text, node) or "?").split())

    def run(self, tree):
        try:
            self.block(tree.body, self.module)
            upgrade = self.module.find("upgrade")
            if isinstance(upgrade, Function):
                if self.call_function(upgrade, [], {}, upgrade.node) is FAILS:
                    self.unread(upgrade.node.body[-1], "upgrade raises an exception")
            else:
                self.unread(tree.body[0] if tree.body else ast.Pass(lineno=1),
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
            self.steps += 1
            if self.steps > STEPS:
                raise TooLong()
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
            elif isinstance(target, ast.Subscript) and isinstance(base, (dict, list)):
                self.put(base, self.value(target.slice, scope), value)

    def put(self, base, key, value):
        try:
            if isinstance(key, PLAIN):
                base[key] = value
        except (TypeError, IndexError):
            pass

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
        for body in blocks:
            scope.clear()
            scope.update(start)
            end = self.block(body, scope)
            ends.append(end)
            if end is None:
                outcomes.append(dict(scope))
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
        values = self.elements(self.value(node.iter, scope))
        if values is None or len(values) > LIMIT:
            self.assign(node.target, self.element(self.value(node.iter, scope)), scope)
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
        scope[node.name] = Model(table=table if isinstance(table, Table) else None, names=inner)

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

    # Expressions

    def value(self, node, scope, is_statement=False):
        if isinstance(node, ast.Call):
            return self.on_call(node, scope, is_statement)
        return getattr(self, "of_" + type(node).__name__, self.of_other)(node, scope)

    def of_other(self, node, scope):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, scope)
        return UNKNOWN

    def of_Constant(self, node, scope):
        if not isinstance(node.value, str):
            return node.value
        text = Text(node.value)
        source = ast.get_source_segment(self.text, node) or ""
        text.line = node.lineno
        text.lined = source.count("\n") == node.value.count("\n")
        return text

    def of_Name(self, node, scope):
        value = scope.find(node.id)
        if value is None and scope_lacks(scope, node.id):
            return Ref(dotted="builtins." + node.id)
        return value

    def of_Attribute(self, node, scope):
        return self.attribute(self.value(node.value, scope), node.attr, node)

    def attribute(self, base, name, node):
        if isinstance(base, Ref):
            return self.imported(base.dotted + "." + name)
        if isinstance(base, Connection):
            if name == "dialect":
                return Dialect()
            if name == "name":
                return self.dialect
            if name in ("engine", "bind", "connection"):
                return base
            return Method(base=base, name=name)
        if isinstance(base, Context):
            if name == "dialect":
                return Dialect()
            return self.connection if name in ("bind", "connection") else Method(base=base,
                                                                                name=name)
        if isinstance(base, Dialect):
            return self.dialect if name == "name" else Method(base=base, name=name)
        if isinstance(base, Model):
            if name == "__table__" and base.table:
                return base.table
            found = base.names.get(name)
            if isinstance(found, PLAIN) or isinstance(found, Function):
                return found
            return self.expression(node)
        if isinstance(base, Method) and isinstance(base.base, Table) and base.name in (
                "c", "columns"):
            return Column(name=name, type=None, parts=[], options={})
        if isinstance(base, Table) and name in ("name", "schema"):
            return getattr(base, name)
        return Method(base=base, name=name)

    def expression(self, node):
        return Sql(text='"%s"' % self.source(node).replace('"', "'")[:60], exact=False)

    def items_of(self, nodes, scope):
        values = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                inner = self.elements(self.value(node.value, scope))
                values += inner if inner is not None else [UNKNOWN]
            else:
                values.append(self.value(node, scope))
        return values

    def of_List(self, node, scope):
        return self.items_of(node.elts, scope)

    of_Set = of_List  # in the order of the file

    def of_Tuple(self, node, scope):
        return tuple(self.items_of(node.elts, scope))

    def of_Dict(self, node, scope):
        found = {}
        for key, item in zip(node.keys, node.values):
            value = self.value(item, scope)
            if key is None:
                found.update(value if isinstance(value, dict) else {})
            else:
                key = self.value(key, scope)
                found[key if isinstance(key, (str, int, bool)) or not isinstance(key, PLAIN)
                      else str(key)] = value
        return found

    def of_BoolOp(self, node, scope):
        is_and, result = isinstance(node.op, ast.And), None
        for item in node.values:
            result = self.value(item, scope)
            known = truth(result)
            if known is None:
                # A later operand may still decide.
                rest = [truth(self.value(other, scope)) for other in node.values]
                return (not is_and) if (not is_and) in rest else UNKNOWN
            if known != is_and:
                return result
        return result

    def of_UnaryOp(self, node, scope):
        value = self.value(node.operand, scope)
        if isinstance(node.op, ast.Not):
            known = truth(value)
            return UNKNOWN if known is None else not known
        if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
            return -value
        return self.expression(node) if is_expression(value) else UNKNOWN

    def of_BinOp(self, node, scope):
        return self.operation(node, self.value(node.left, scope), self.value(node.right, scope))

    def operation(self, node, left, right):
        if is_expression(left) or is_expression(right):
            return self.expression(node)
        is_known = isinstance(left, PLAIN) and isinstance(right, PLAIN)
        try:
            if isinstance(node.op, ast.Add):
                if is_known:
                    return left + right
            elif isinstance(node.op, ast.Mod) and isinstance(left, str):
                if is_known and all_known(right):
                    return left % right
            elif isinstance(node.op, ast.Sub) and is_known:
                if isinstance(left, list):
                    return [item for item in left if item not in right]
                return left - right
            elif isinstance(node.op, ast.Mult) and is_known and isinstance(right, int):
                return left * min(right, LIMIT)
            elif isinstance(node.op, ast.BitOr) and is_known:
                return list(left) + list(right)
        except (TypeError, ValueError, KeyError):
            return UNKNOWN
        words = [words_of(part) for part in (left, right) if isinstance(part, (str, Partial))]
        return Partial(words=" ".join(words)) if words else UNKNOWN

    def of_Compare(self, node, scope):
        values = [self.value(node.left, scope)]
        values += [self.value(item, scope) for item in node.comparators]
        if any(is_expression(value) for value in values):
            return self.expression(node)
        left, right = values[0], values[1]
        if len(values) > 2 or not (all_known(left) and all_known(right)):
            return UNKNOWN
        try:
            return COMPARISONS[type(node.ops[0])](left, right)
        except (TypeError, KeyError):
            return UNKNOWN

    def of_IfExp(self, node, scope):
        known = truth(self.value(node.test, scope))
        if known is not None:
            return self.value(node.body if known else node.orelse, scope)
        one, other = self.value(node.body, scope), self.value(node.orelse, scope)
        return one if same(one, other) else self.either(one, other)

    def of_JoinedStr(self, node, scope):
        parts = [self.value(part, scope) for part in node.values]
        if all(isinstance(part, str) for part in parts):
            return "".join(parts)
        return Partial(words=" ".join(words_of(part) for part in parts))

    def of_FormattedValue(self, node, scope):
        value = self.value(node.value, scope)
        is_plain = isinstance(value, (str, int)) and node.format_spec is None
        if is_plain and node.conversion in (-1, ord("s")):
            return str(value)
        return value if isinstance(value, Partial) else UNKNOWN

    def of_Subscript(self, node, scope):
        base = self.value(node.value, scope)
        key = self.value(node.slice, scope)
        if isinstance(base, (list, tuple, dict, str)) and isinstance(key, PLAIN):
            try:
                return base[key]
            except (KeyError, IndexError, TypeError):
                return UNKNOWN
        if isinstance(base, Method) and isinstance(base.base, Table) and isinstance(key, str):
            return Column(name=key, type=None, parts=[], options={})
        return base if isinstance(base, (Rows, Ref)) else UNKNOWN

    def of_Index(self, node, scope):  # before Python 3.9
        return self.value(node.value, scope)


    def of_NamedExpr(self, node, scope):
        value = self.value(node.value, scope)
        self.assign(node.target, value, scope)
        return value

    def of_Lambda(self, node, scope):
        return Function(node=node, scope=scope)

    def of_Await(self, node, scope):
        return self.value(node.value, scope)

    def of_ListComp(self, node, scope):
        found = []
        inner = Scope(scope)
        known = self.generated(node.generators, inner,
                               lambda: found.append(self.value(node.elt, inner)))
        return found if known else UNKNOWN

    of_SetComp = of_GeneratorExp = of_ListComp

    def of_DictComp(self, node, scope):
        found, inner = {}, Scope(scope)

        def add():
            self.put(found, self.value(node.key, inner), self.value(node.value, inner))
        return found if self.generated(node.generators, inner, add) else UNKNOWN

    # Calls `f` for each element; False where the elements are not known.
    def generated(self, generators, scope, f):
        if not generators:
            f()
            return True
        first = generators[0]
        source = self.value(first.iter, scope)
        values = self.elements(source)
        known = values is not None and len(values) <= LIMIT
        for value in values if known else [self.element(source)]:
            self.assign(first.target, value, scope)
            tests = [truth(self.value(test, scope)) for test in first.ifs]
            if False in tests:
                continue
            known = self.generated(generators[1:], scope, f) and None not in tests and known
        return known

    # Calls

    def on_call(self, node, scope, is_statement):
        self.steps += 1
        if self.steps > STEPS:
            raise TooLong()
        function = self.value(node.func, scope)
        args = self.items_of(node.args, scope)
        options = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, scope)
            if keyword.arg:
                options[keyword.arg] = value
            elif isinstance(value, dict):
                options.update(value)
        try:
            return self.call(function, args, options, node, is_statement)
        except NotRead as problem:
            words = problem.words
            if not words and isinstance(function, Method):
                words = function.name
            self.unread(node, problem.reason, words)
            return UNKNOWN

    def call(self, function, args, options, node, is_statement=False):
        if isinstance(function, Function):
            return self.call_function(function, args, options, node)
        if isinstance(function, Method):
            if is_statement:
                self.refuse_foreign(function)
            return self.call_method(function, args, options, node)
        if isinstance(function, Ref):
            return self.call_imported(function.dotted, args, options, node, is_statement)
        if isinstance(function, Made) and function.dotted.split(".")[-1] in (
                "sessionmaker", "scoped_session"):
            return Connection()
        if isinstance(function, Model):
            self.refuse(args, options, "a class of the file")
            return UNKNOWN
        if is_statement:
            raise NotRead("a function that is not known is called")
        self.refuse(args, options, "a function that is not known")
        return UNKNOWN

    # Unknown code that gets the connection or op may do anything.
    def refuse(self, args, options, what, words=""):
        if reaches(list(args)) or reaches(options):
            raise NotRead("%s gets the connection or op" % what, words)

    # A method of an object from another module, called for its effect.
    def refuse_foreign(self, method):
        base = method.base
        while isinstance(base, Method):
            base = base.base
        if isinstance(base, Made) and method.name not in LOGS and base.dotted.split(".")[0] not in (
                READ_MODULES):
            raise NotRead("%s is a method of an object from another module" % method.name,
                          method.name)

    def call_function(self, function, args, options, node):
        if self.depth >= DEPTH:
            raise NotRead("the functions of the file call each other too deep")
        scope, spec = Scope(function.scope), function.node.args
        names = [arg.arg for arg in getattr(spec, "posonlyargs", []) + spec.args]
        for arg, default in zip(names[len(names) - len(spec.defaults):], spec.defaults):
            scope[arg] = self.value(default, function.scope)
        for arg, default in zip(spec.kwonlyargs, spec.kw_defaults):
            scope[arg.arg] = self.value(default, function.scope) if default else UNKNOWN
        for name, value in list(zip(names, args)) + list(options.items()):
            scope[name] = value
        if spec.vararg:
            scope[spec.vararg.arg] = list(args[len(names):])
        if spec.kwarg:
            scope[spec.kwarg.arg] = {name: value for name, value in options.items()
                                     if name not in names}
        for name in names:
            scope.setdefault(name, UNKNOWN)
        self.depth += 1
        try:
            if isinstance(function.node, ast.Lambda):
                return self.value(function.node.body, scope)
            end = self.block(function.node.body, scope)
            if end == "raise" and not scope.returned:
                return FAILS
        finally:
            self.depth -= 1
        if any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(function.node)):
            return UNKNOWN
        returned = scope.returned + ([] if end == "return" else [None])
        result = returned[0]
        for value in returned[1:]:
            result = result if same(result, value) else self.either(result, value)
        return result

    def call_method(self, method, args, options, node):
        base, name = method.base, method.name
        if isinstance(base, (Op, Batch)):
            return self.call_op(base, name, args, options, node)
        if isinstance(base, Context):
            return self.call_context(name, args, options, node)
        if isinstance(base, Connection):
            return self.call_connection(base, name, args, options, node)
        if isinstance(base, Dialect):
            return UNKNOWN
        for kind, handler in ((Type, self.call_type), (Table, self.call_table),
                              (Change, self.call_change), (Query, self.call_query)):
            if isinstance(base, kind):
                return handler(base, name, args, options, node)
        if isinstance(base, Rows):
            return base if name in ("all", "first", "one", "scalars", "unique", "one_or_none",
                                    "fetchall", "fetchone", "yield_per") else UNKNOWN
        if is_expression(base):
            return base if name in ("bindparams", "columns", "execution_options", "self_group",
                                    "text") else self.expression(node)
        if isinstance(base, (str, list, dict)):
            return self.call_plain(base, name, args, options)
        if isinstance(base, Partial):
            return base
        words = name if reaches(list(args)) or reaches(options) else ""
        if isinstance(base, Made) and base.dotted.endswith("MetaData") and name == "reflect":
            return UNKNOWN
        if name in ("has_table", "get_columns", "bulk_insert_mappings") and not words:
            return UNKNOWN
        self.refuse(args, options, "a method that is not known", words)
        if isinstance(base, Made) and name in ("options", "distinct", "where", "filter", "limit",
                                               "order_by", "join", "select_from", "group_by"):
            return base
        return UNKNOWN

    def call_op(self, base, name, args, options, node):
        if name == "f":
            return args[0] if args else UNKNOWN
        if name == "execute":
            return self.execute(args[0] if args else options.get("sqltext", UNKNOWN), node)
        batch = base if isinstance(base, Batch) else None
        if not batch:
            if name in ("get_bind", "get_context"):
                return self.connection if name == "get_bind" else Context()
            if name == "batch_alter_table":
                return self.batch(args, options)
            if name == "inline_literal":
                return args[0] if args else UNKNOWN
        if name not in SIGNATURES:
            raise NotRead("%s is not an operation of Alembic" % name, name)
        o = bound(name, args, options, batch)
        self.emit(node, getattr(self.writer, name)(o))
        if name == "alter_column" and o.get("type_") is not None and "existing_type" in o:
            self.items[-1]["types"] = self.writer.existing_type(o)
        if batch and self.dialect == "sqlite" and name not in (
                "add_column", "create_index", "drop_index", "create_table_comment",
                "drop_table_comment"):
            batch.copies = True
        if name == "create_table" and isinstance(o.get("table"), str):
            return Table(name=o["table"], schema=o.get("schema"))
        return UNKNOWN

    def batch(self, args, options):
        table = args[0] if args else options.get("table_name", UNKNOWN)
        named(table, "the name of the table")
        return Batch(table=table, schema=args[1] if len(args) > 1 else options.get("schema"),
                     copies=options.get("recreate") == "always")

    def call_context(self, name, args, options, node):
        if name == "autocommit_block":
            return Autocommit()
        if name == "execute":
            return self.execute(args[0] if args else UNKNOWN, node)
        if name in ("begin_transaction", "get_current_revision", "get_current_heads"):
            return UNKNOWN
        raise NotRead("%s of the migration context is not known" % name, name)

    def call_connection(self, session, name, args, options, node):
        if name in ("execute", "scalar", "scalars") + DRIVERS:
            sql = args[0] if args else options.get("statement", UNKNOWN)
            return self.execute(sql, node, name in DRIVERS, session)
        if name in OPENING:
            return session
        if name in HARMLESS:
            return UNKNOWN
        if name == "query":
            table = args[0].table if args and isinstance(args[0], Model) else args[0] if (
                args and isinstance(args[0], Table)) else None
            return Query(table=table, where=None, session=session)
        if name == "get":
            return Rows(session=session)
        if name in ("add", "add_all", "bulk_save_objects", "bulk_insert_mappings"):
            if any(isinstance(arg, Rows) for arg in args):
                self.changes_rows(node, Rows(session=session))
            return UNKNOWN
        if name in ("merge", "bulk_update_mappings"):
            return self.changes_rows(node, Rows(session=session)) or UNKNOWN
        if name == "delete":
            raise NotRead("the session deletes rows that the file chooses one by one", "delete")
        raise NotRead("%s of the connection is not known" % name, name)

    # SQL that is sent, by whichever function.
    def execute(self, sql, node, is_driver=False, session=None):
        session = session or self.connection
        if isinstance(sql, (list, tuple)):
            for one in sql:
                self.execute(one, node, is_driver, session)
            return UNKNOWN
        if isinstance(sql, Change):
            if sql.table is None:
                raise NotRead("the table is not known", sql.kind)
            self.emit(node, [self.writer.change(sql)])
            return UNKNOWN
        if isinstance(sql, Made) and sql.dotted.split(".")[-1] in ("select", "Select", "exists"):
            return Rows(session=session)
        if isinstance(sql, Sql):
            if not sql.exact:
                return UNKNOWN
            sql = sql.text
        if isinstance(sql, Partial):
            raise NotRead("only pieces of the SQL are literals", sql.words)
        if not isinstance(sql, str):
            raise NotRead("the SQL is not a literal")
        text = with_values(sql, is_driver)
        self.emit(node, [text], sql)
        return UNKNOWN

    def call_type(self, kind, name, args, options, node):
        if name == "create" and kind.labels is not None and self.writer.postgresql:
            self.emit(node, self.writer.create_type(kind))
        elif name == "drop" and self.writer.postgresql:
            self.emit(node, ["DROP TYPE " + kind.text])
        elif name == "with_variant":
            names = args[1:]
            return type_of(args[0], self.dialect) if self.dialect in names else kind
        return kind if name in ("with_variant", "copy", "evaluates_none") else UNKNOWN

    def call_table(self, table, name, args, options, node):
        if name in ("update", "delete", "insert"):
            return self.change(name, table, args, options)
        if name == "select":
            return Made(dotted="sqlalchemy.select")
        if name == "drop":
            self.emit(node, ["DROP TABLE " + table_of(table)])
        elif name == "create":
            self.emit(node, ["CREATE TABLE %s ()" % table_of(table)])
        return UNKNOWN

    def change(self, kind, table, args, options):
        change = Change(kind=kind, table=table, columns=[], where=None)
        return self.call_change(change, "where", args, options, None) if args else change

    def call_change(self, change, name, args, options, node):
        if name in ("where", "filter", "filter_by"):
            texts = [arg.text if isinstance(arg, Sql) else str(arg).lower()
                     if isinstance(arg, bool) else '"?"' for arg in args]
            texts += ['"%s"' % key for key in options]
            old = [change.where] if change.where else []
            return Change(kind=change.kind, table=change.table, columns=change.columns,
                          where=" AND ".join(old + texts) or None)
        if name in ("values", "ordered_values", "update"):
            keys = [key for arg in args if isinstance(arg, dict) for key in arg] + list(options)
            names = [key.name if isinstance(key, Column) else key for key in keys]
            names = [key.text.strip('"').split(".")[-1] if isinstance(key, Sql) else key
                     for key in names]
            columns = [key for key in names if isinstance(key, str)]
            return Change(kind=change.kind, table=change.table, where=change.where,
                          columns=change.columns + columns)
        return change

    def call_query(self, query, name, args, options, node):
        if name in ("update", "delete"):
            if query.table is None:
                raise NotRead("the table is not known", name)
            change = Change(kind=name, table=query.table, columns=[], where=query.where)
            if name == "update":
                change = self.call_change(change, "values", args[:1], {}, node)
            self.emit(node, [self.writer.change(change)])
            return UNKNOWN
        if name in ("filter", "filter_by", "where", "join", "outerjoin", "limit"):
            where = (query.where + " AND " if query.where else "") + '"%s"' % name
            return Query(table=query.table, where=where, session=query.session)
        if name in ("count", "exists", "scalar", "statement", "subquery"):
            return UNKNOWN
        if name in ("all", "first", "one", "one_or_none", "get", "yield_per"):
            return Rows(session=query.session)
        return query

    def call_plain(self, base, name, args, options):
        is_known = all_known(args) and all_known(list(options.values()))
        if isinstance(base, list):
            return self.call_list(base, name, args)
        if isinstance(base, dict):
            if name == "get" and args and isinstance(args[0], (str, int)):
                return base.get(args[0], args[1] if len(args) > 1 else None)
            if name in ("items", "keys", "values"):
                return [tuple(item) if name == "items" else item for item in getattr(base, name)()]
            if name == "update" and args and isinstance(args[0], dict):
                base.update(args[0])
            return UNKNOWN if name != "copy" else dict(base)
        if name in ("format", "join", "replace", "strip", "lstrip", "rstrip", "lower", "upper",
                    "title", "split", "splitlines", "startswith", "endswith", "removeprefix"):
            if is_known:
                try:
                    return getattr(str(base), name)(*args, **options)
                except (TypeError, ValueError, LookupError, AttributeError):
                    return UNKNOWN
            return Partial(words=" ".join([base] + [words_of(arg) for arg in args]))
        return UNKNOWN

    def call_list(self, base, name, args):
        if name in ("append", "add", "insert") and args and len(base) < LIMIT:
            base.append(args[-1])
        elif name in ("extend", "update") and args:
            more = self.elements(args[0])
            base.extend((more if more is not None else [UNKNOWN])[:LIMIT])
        elif name in ("difference", "union", "copy"):
            others = [self.elements(arg) for arg in args]
            if None in others:
                return UNKNOWN
            rest = [item for other in others for item in other]
            if name == "difference":
                return [item for item in base if item not in rest]
            return base + (rest if name == "union" else [])
        return UNKNOWN

    # Names that are imported

    def call_imported(self, dotted, args, options, node, is_statement):
        root, name = dotted.split(".")[0], dotted.split(".")[-1]
        if root == "builtins":
            return self.call_builtin(name, args, options, node)
        if root == "sqlalchemy" or name in ("AutoString", "JSONB"):
            return self.call_sqlalchemy(dotted, name, args, options, node)
        if name in ("Session", "AsyncSession"):
            return Connection()
        if root not in READ_MODULES and is_statement:
            raise NotRead("%s is a function of another module" % name, name)
        if name not in READERS:
            self.refuse(args, options, "%s, a function of another module," % name, name)
        return Made(dotted=dotted)

    def call_builtin(self, name, args, options, node):
        if name in ("getattr", "setattr") and len(args) > 1 and isinstance(args[1], str):
            if name == "getattr":
                return self.attribute(args[0], str(args[1]), node)
            if isinstance(args[0], Rows):
                self.changes_rows(node, args[0])
                return UNKNOWN
        if name in ("isinstance", "hasattr", "print", "bool", "type", "id", "repr", "super"):
            return UNKNOWN
        first = self.elements(args[0]) if args else []
        if isinstance(args[0] if args else None, Query):
            return Rows(session=args[0].session)
        if name in ("list", "tuple", "set", "sorted", "reversed", "frozenset"):
            if first is None:
                return self.element(args[0])
            first = first[::-1] if name == "reversed" else first
            try:
                return sorted(first) if name == "sorted" and not options else list(first)
            except TypeError:
                return list(first)
        if name == "dict" and first is not None:
            return {**(args[0] if args and isinstance(args[0], dict) else {}), **options}
        if name == "enumerate" and first is not None:
            return [tuple(pair) for pair in enumerate(first)]
        if name == "zip" and all(self.elements(arg) is not None for arg in args):
            return [tuple(items) for items in zip(*[self.elements(arg) for arg in args])]
        if name in ("len", "str", "int", "range", "max", "min", "sum") and all_known(args):
            try:
                return {"len": len, "str": str, "int": int, "range": range, "max": max,
                        "min": min, "sum": sum}[name](*args)
            except (TypeError, ValueError):
                return UNKNOWN
        if name == "str" and args:
            return args[0] if isinstance(args[0], (Partial, Sql)) else UNKNOWN
        if name in ("exec", "eval", "globals", "compile", "__import__"):
            raise NotRead("%s runs code that cannot be seen" % name)
        self.refuse(args, options, name)
        return UNKNOWN

    def call_sqlalchemy(self, dotted, name, args, options, node):
        if ".func." in dotted:
            return self.sql_function(name, args, node)
        if name in TYPES and not dotted.startswith("sqlalchemy.func"):
            return make_type(name, args, options, self.dialect)
        made = getattr(self, "make_" + name, None)
        if made:
            return made(args, options, node)
        if name in EXPRESSIONS:
            return self.expression(node)
        if name in ("true", "false", "null"):
            return Sql(text=name.upper())
        if name in ("Session", "AsyncSession", "create_engine", "create_async_engine"):
            return Connection()
        if name not in READERS:
            self.refuse(args, options, name, name)
        return Made(dotted=dotted)

    def sql_function(self, name, args, node):
        texts = []
        for arg in args:
            if isinstance(arg, Sql) and arg.exact:
                texts.append(arg.text)
            elif isinstance(arg, Column):
                texts.append(quoted(str(arg.name)))
            elif isinstance(arg, (str, int, float)):
                texts.append(str(arg) if not isinstance(arg, str) else literal(arg))
            else:
                texts.append(self.expression(node).text)
        return Sql(text="%s(%s)" % (name, ", ".join(texts)), exact=True)

    def make_text(self, args, options, node):
        value = args[0] if args else options.get("text", UNKNOWN)
        if isinstance(value, str):
            return Sql(text=value)
        return value if isinstance(value, (Partial, Sql)) else UNKNOWN

    make_TextClause = make_DDL = make_quoted_name = make_text

    def make_literal_column(self, args, options, node):
        return Sql(text=args[0]) if args and isinstance(args[0], str) else self.expression(node)

    def make_column(self, args, options, node):
        return Column(name=args[0] if args else UNKNOWN, type=args[1] if len(args) > 1 else None,
                      parts=[], options={})

    def make_Column(self, args, options, node):
        words = [arg for arg in args]
        name = words.pop(0) if words and isinstance(words[0], (str, Partial, Unknown)) else (
            options.get("name", UNKNOWN))
        kind = options.get("type_")
        if words and not isinstance(words[0], Constraint):
            kind = words.pop(0)
        return Column(name=name, type=kind, options=options,
                      parts=[word for word in words if isinstance(word, Constraint)])

    make_mapped_column = make_Column

    def make_ForeignKey(self, args, options, node):
        target, remote = None, '"?"'
        if args and isinstance(args[0], str):
            words = args[0].split(".")
            if len(words) > 1:
                target = table_of(words[-2], words[-3] if len(words) > 2 else None)
                remote = quoted(words[-1])
        return Constraint(kind="foreign", target=target, remote=remote, columns=[],
                          options=options)

    def make_ForeignKeyConstraint(self, args, options, node):
        columns = args[0] if args else options.get("columns", [])
        others = args[1] if len(args) > 1 else options.get("refcolumns", [])
        others = others if isinstance(others, (list, tuple)) else []
        first = self.make_ForeignKey(others[:1], {}, node)
        remote = [other.split(".")[-1] for other in others if isinstance(other, str)]
        return Constraint(kind="foreign", target=first.target, remote=columns_of(remote),
                          columns=columns, options=options)

    def make_PrimaryKeyConstraint(self, args, options, node):
        return Constraint(kind="primary", columns=args, options=options)

    def make_UniqueConstraint(self, args, options, node):
        return Constraint(kind="unique", columns=args, options=options)

    def make_CheckConstraint(self, args, options, node):
        return Constraint(kind="check", columns=[], options=options,
                          text=condition_of(args[0] if args else options.get("sqltext")))

    def make_Index(self, args, options, node):
        return Constraint(kind="index", columns=args[1:],
                          options={**options, "name": args[0] if args else None})

    def make_ExcludeConstraint(self, args, options, node):
        return Constraint(kind="exclude", columns=[], options=options)

    def make_Identity(self, args, options, node):
        return Constraint(kind="identity", columns=[], options=options)

    def make_Computed(self, args, options, node):
        return Constraint(kind="computed", columns=[], options=options,
                          text=condition_of(args[0] if args else options.get("sqltext")))

    def make_Sequence(self, args, options, node):
        return Constraint(kind="sequence", columns=[], options=options,
                          name=args[0] if args else UNKNOWN)

    def make_CreateSequence(self, args, options, node):
        return self.of_sequence("CREATE", args)

    def make_DropSequence(self, args, options, node):
        return self.of_sequence("DROP", args)

    def of_sequence(self, word, args):
        if args and isinstance(args[0], Constraint) and args[0].kind == "sequence":
            return Sql(text="%s SEQUENCE %s" % (word, table_of(args[0].name,
                                                               args[0].options.get("schema"))))
        return UNKNOWN

    def make_CreateSchema(self, args, options, node):
        return Sql(text="CREATE SCHEMA " + table_of(args[0] if args else UNKNOWN))

    def make_DropSchema(self, args, options, node):
        return Sql(text="DROP SCHEMA " + table_of(args[0] if args else UNKNOWN))

    def make_table(self, args, options, node):
        name = args[0] if args else options.get("name", UNKNOWN)
        return Table(name=name, schema=options.get("schema"))

    make_Table = make_table

    def changed(self, kind, args):
        table = args[0] if args else None
        table = table.table if isinstance(table, Model) else table
        return self.change(kind, table if isinstance(table, Table) else None, args[1:], {})

    def make_update(self, args, options, node):
        return self.changed("update", args)

    def make_delete(self, args, options, node):
        return self.changed("delete", args)

    def make_insert(self, args, options, node):
        return self.changed("insert", args)


def scope_lacks(scope, name):
    while scope is not None:
        if name in scope:
            return False
        scope = scope.outer
    return True


def is_expression(value):
    return isinstance(value, (Sql, Column)) or isinstance(value, Method) and isinstance(
        value.base, (Sql, Column))


def all_known(value):
    if isinstance(value, (list, tuple)):
        return all(all_known(item) for item in value)
    if isinstance(value, dict):
        return all(all_known(item) for item in value.values())
    return isinstance(value, PLAIN)


def words_of(value):
    return str(value) if isinstance(value, str) else value.words if isinstance(
        value, Partial) else "?"


# The server's grammar has no bind parameters: values take their places.
def with_values(sql, is_driver):
    def value_of(match):
        if match.group(1):
            return match.group()
        if is_driver:
            return "%" if match.group() == "%%" else "'?'"
        if match.group() == "\\:":
            return ":"
        value = "':%s'" % match.group(4) if match.group(4) else "'?'"
        return "%s(%s)" % (match.group(3), value) if match.group(3) else value
    text = (PLACEHOLDERS if is_driver else BINDS).sub(value_of, sql)
    return text.replace("\0", "")


COMPARISONS = {
    ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b, ast.Is: lambda a, b: a is b or a == b,
    ast.IsNot: lambda a, b: not (a is b or a == b), ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b, ast.Gt: lambda a, b: a > b, ast.GtE: lambda a, b: a >= b,
}


def read(path, dialect):
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source, path)
        text = source.decode("utf-8-sig")
    except SyntaxError as problem:
        return {"error": problem.msg, "line": problem.lineno or 1}
    except (ValueError, UnicodeDecodeError, RecursionError, MemoryError) as problem:
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
