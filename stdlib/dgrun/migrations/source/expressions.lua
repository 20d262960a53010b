-- A part of a Python program, see dgrun.migrations.source: the value of an expression.
return [==[
class Expressions:
    def value(self, node, scope, is_statement=False):
        if isinstance(node, ast.Constant):
            return self.of_Constant(node, scope)
        self.steps += 1
        if self.steps > STEPS:
            raise TooLong()
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
        text.line = node.lineno
        text.lined = node.end_lineno - node.lineno == node.value.count("\n")
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
        if isinstance(base, Object):
            if name in base.values:
                return base.values[name]
            return self.member(base.model, name, base) or Method(base=base, name=name)
        if isinstance(base, Model):
            if name == "__table__" and base.table:
                return base.table
            return self.member(base, name, None) or self.expression(node)
        if isinstance(base, Method) and isinstance(base.base, Table) and base.name in (
                "c", "columns"):
            return Column(name=name, type=None, parts=[], options={})
        if isinstance(base, Table) and name in ("name", "schema"):
            return getattr(base, name)
        return Method(base=base, name=name)

    # What a class of the file has by this name, None where that is a column or not there.
    def member(self, model, name, instance):
        found = model.names.get(name)
        if isinstance(found, Function) and not isinstance(found.node, ast.Lambda):
            kinds = [item.id for item in found.node.decorator_list if isinstance(item, ast.Name)]
            if "property" in kinds and instance:
                return self.call_function(found, [instance], {}, found.node)
            if "classmethod" in kinds or instance and "staticmethod" not in kinds:
                first = model if "classmethod" in kinds else instance
                return Function(node=found.node, scope=found.scope, first=first)
        if isinstance(found, PLAIN + (Function,)) and found is not None:
            return found
        for base in model.bases:
            inherited = self.member(base, name, instance)
            if inherited is not None:
                return inherited
        return None

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
        return List(self.items_of(node.elts, scope))

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
        is_and, result, is_unsure = isinstance(node.op, ast.And), None, False
        for item in node.values:
            result = self.value(item, scope)
            known = truth(result)
            is_unsure = is_unsure or known is None
            if known is not None and known != is_and:
                # It decides, whatever the others are.
                return known if is_unsure else result
        return UNKNOWN if is_unsure else result

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
        return found if known else self.rows_in(found)

    # What is picked from rows may be rows.
    def rows_in(self, values):
        return next((value for value in values if isinstance(value, Rows)), UNKNOWN)

    of_SetComp = of_GeneratorExp = of_ListComp

    def of_DictComp(self, node, scope):
        found, inner = {}, Scope(scope)

        def add():
            self.put(found, self.value(node.key, inner), self.value(node.value, inner))
        known = self.generated(node.generators, inner, add)
        return found if known else self.rows_in(found.values())

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


COMPARISONS = {
    ast.Eq: lambda a, b: a == b, ast.NotEq: lambda a, b: a != b, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b, ast.Is: lambda a, b: a is b or a == b,
    ast.IsNot: lambda a, b: not (a is b or a == b), ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b, ast.Gt: lambda a, b: a > b, ast.GtE: lambda a, b: a >= b,
}
]==]
