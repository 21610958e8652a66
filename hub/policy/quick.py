"""Conditions over arguments as plain functions, for what most policies say; anything else is left to Cedar. Compiled once per question.

Only for policies that passed Cedar's strict validation: their expressions cannot fail then, so all that is left is their value. Operators
whose value could still be an error (arithmetic overflows) are not taken, nor whatever compares more than strings, integers and booleans.
Cedar itself is the oracle (tests/policy/test_quick.py), and what decides again when a record is explained.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from cedarpy import pst
from msgspec import Struct

from hub.policy.cedar import Node, Uid
from hub.policy.rules import Rule
from hub.policy.shapes import Shape

Context = Mapping[str, Any]
Test = Callable[[Context], bool]
Value = Callable[[Context], Any]

_STRING, _LONG, _BOOL = Shape("string", required=True), Shape("long", required=True), Shape("bool", required=True)
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "less": lambda left, right: left < right,
    "less_eq": lambda left, right: left <= right,
    "greater": lambda left, right: left > right,
    "greater_eq": lambda left, right: left >= right,
}


class Beyond(Exception):
    """An expression that is left to Cedar."""


class Asked(Struct, frozen=True):
    """What is known of a question before its arguments. `args` is their type."""

    nodes: dict[str, Node]
    args: Shape


def tests(rules: Collection[Rule], who: Node, action: Node, what: Node, args: Shape) -> tuple[tuple[Rule, Test], ...] | None:
    """For each rule whether it is satisfied, given the context. None where one of them says more than this file knows."""
    asked = Asked({"principal": who, "action": action, "resource": what}, args)
    try:
        return tuple((rule, _all(rule, asked)) for rule in rules)
    except (Beyond, RecursionError):
        return None


def _all(rule: Rule, asked: Asked) -> Test:
    clauses = [_clause(clause, asked) for clause in rule.tree.clauses]
    return clauses[0] if len(clauses) == 1 else lambda context: all(clause(context) for clause in clauses)


def _clause(clause: pst.Clause, asked: Asked) -> Test:
    inner = _test(clause.expr, asked)
    return inner if isinstance(clause, pst.When) else lambda context: not inner(context)


def _test(expr: pst.Expr, asked: Asked) -> Test:
    """An expression whose value is a boolean."""
    match expr:
        case pst.HasAttr(base, attrs):
            return _has(base, attrs, asked)
        case pst.Like(base, pattern):
            return _like(_typed(base, asked, "string"), pattern)
        case pst.UnaryOp("not", arg):
            negated = _test(arg, asked)
            return lambda context: not negated(context)
        case pst.UnaryOp("is_empty", arg):
            members = _typed(arg, asked, "set")
            return lambda context: not members(context)
        case pst.BinaryOp(op, left, right):
            return _binary(op, left, right, asked)
        case pst.IfThenElse(cond, then_expr, else_expr):
            choice, one, other = _test(cond, asked), _test(then_expr, asked), _test(else_expr, asked)
            return lambda context: one(context) if choice(context) else other(context)
        case pst.Is(base, entity_type, in_expr):
            known = _node(base, asked).uid[0] == str(entity_type) and (in_expr is None or _within(base, in_expr, asked))
            return lambda _: known
        case _:
            return _typed(expr, asked, "bool")


def _binary(op: str, left: pst.Expr, right: pst.Expr, asked: Asked) -> Test:
    if op in ("and", "or"):
        one, other = _test(left, asked), _test(right, asked)
        return (lambda context: one(context) and other(context)) if op == "and" else (lambda context: one(context) or other(context))
    if op in ("eq", "not_eq"):
        return _equal(left, right, asked, same=op == "eq")
    if op in _ORDER:
        first, second, compare = _typed(left, asked, "long"), _typed(right, asked, "long"), _ORDER[op]
        return lambda context: compare(first(context), second(context))
    if op == "in":
        known = _within(left, right, asked)
        return lambda _: known
    return _members(op, left, right, asked)


def _equal(left: pst.Expr, right: pst.Expr, asked: Asked, *, same: bool) -> Test:
    if _is_entity(left) and _is_entity(right):
        known = (_uid(left, asked) == _uid(right, asked)) == same
        return lambda _: known
    (one, kind), (other, its) = _value(left, asked), _value(right, asked)
    if kind.kind != its.kind or kind.kind not in ("string", "long", "bool"):
        raise Beyond
    return (lambda context: one(context) == other(context)) if same else (lambda context: one(context) != other(context))


def _members(op: str, left: pst.Expr, right: pst.Expr, asked: Asked) -> Test:
    (held, kind), (sought, its) = _value(left, asked), _value(right, asked)
    element = kind.element
    if kind.kind != "set" or element is None or element.kind not in ("string", "long", "bool"):
        raise Beyond
    wanted = its if op == "contains" else its.element
    if wanted is None or wanted.kind != element.kind or (op != "contains" and its.kind != "set"):
        raise Beyond
    match op:
        case "contains":
            return lambda context: sought(context) in held(context)
        case "contains_all":
            return lambda context: set(sought(context)) <= set(held(context))
        case "contains_any":
            return lambda context: not set(held(context)).isdisjoint(sought(context))
        case _:
            raise Beyond


def _typed(expr: pst.Expr, asked: Asked, kind: str) -> Value:
    value, found = _value(expr, asked)
    if found.kind != kind:
        raise Beyond
    return value


def _value(expr: pst.Expr, asked: Asked) -> tuple[Value, Shape]:
    """What an expression stands for, and its type."""
    match expr:
        case pst.StringLit(value):
            return _constant(value), _STRING
        case pst.LongLit(value):
            return _constant(value), _LONG
        case pst.BoolLit(value):
            return _constant(value), _BOOL
        case pst.Set(elements):
            return _set(elements, asked)
        case pst.GetAttr(pst.Var(name), attr) if name in asked.nodes:
            return _attribute(asked.nodes[name], attr)
        case pst.GetAttr(base, attr):
            return _member(base, attr, asked)
        case _:
            raise Beyond


def _constant(value: Any) -> Value:
    return lambda _: value


def _set(elements: tuple[pst.Expr, ...], asked: Asked) -> tuple[Value, Shape]:
    if not elements or not all(isinstance(each, pst.StringLit | pst.LongLit | pst.BoolLit) for each in elements):
        raise Beyond
    shapes = [_value(each, asked)[1] for each in elements]
    if any(shape.kind != shapes[0].kind for shape in shapes):
        raise Beyond
    found = frozenset(cast("pst.StringLit", each).value for each in elements)
    return _constant(found), Shape("set", required=True, element=shapes[0])


def _attribute(node: Node, attr: str) -> tuple[Value, Shape]:
    """An attribute of the resource: known with it."""
    value = node.attrs.get(attr)
    if isinstance(value, bool):
        return _constant(value), _BOOL
    if isinstance(value, str):
        return _constant(value), _STRING
    raise Beyond


def _member(base: pst.Expr, attr: str, asked: Asked) -> tuple[Value, Shape]:
    holder, shape = _record(base, asked)
    field = shape.fields.get(attr)
    if field is None:
        raise Beyond
    return (lambda context: holder(context)[attr]), field


def _record(expr: pst.Expr, asked: Asked) -> tuple[Value, Shape]:
    """The context, or a record in it."""
    if isinstance(expr, pst.Var) and expr.name == "context":
        return (lambda context: context), Shape("record", fields={"args": asked.args, "door": _STRING, "key": _STRING})
    if not isinstance(expr, pst.GetAttr):
        raise Beyond
    value, shape = _member(expr.base, expr.attr, asked)
    if shape.kind != "record":
        raise Beyond
    return value, shape


def _has(base: pst.Expr, attrs: tuple[str, ...], asked: Asked) -> Test:
    holder, shape = _record(base, asked)
    for attr in attrs[:-1]:
        inner = shape.fields.get(attr)
        if inner is None or inner.kind != "record":
            raise Beyond
        shape = inner
    if attrs[-1] not in shape.fields:
        raise Beyond  # a misspelt name: the check of policies refuses most of them, and Cedar says false
    if len(attrs) == 1:
        attr = attrs[0]
        return lambda context: attr in holder(context)

    def present(context: Context) -> bool:
        found = holder(context)
        for attr in attrs:
            if attr not in found:
                return False
            found = found[attr]
        return True

    return present


def _like(value: Value, pattern: tuple[pst.PatternElem, ...]) -> Test:
    """Literals between wildcards, found from left to right: linear in the text for each of them, whatever the text."""
    literals = [""]
    for each in pattern:
        if isinstance(each, pst.Char):
            literals[-1] += each.value
        else:
            literals.append("")
    if len(literals) == 1:
        exact = literals[0]
        return lambda context: value(context) == exact
    first, last, middle = literals[0], literals[-1], tuple(filter(None, literals[1:-1]))
    shortest = len(first) + len(last)

    def matches(context: Context) -> bool:
        text: str = value(context)
        if len(text) < shortest or not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for literal in middle:
            at = text.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return True

    return matches


def _is_entity(expr: pst.Expr) -> bool:
    return isinstance(expr, pst.EntityLit) or (isinstance(expr, pst.Var) and expr.name != "context")


def _uid(expr: pst.Expr, asked: Asked) -> Uid:
    if isinstance(expr, pst.EntityLit):
        return str(expr.value.type), expr.value.id
    return _node(expr, asked).uid


def _node(expr: pst.Expr, asked: Asked) -> Node:
    if not isinstance(expr, pst.Var) or expr.name not in asked.nodes:
        raise Beyond
    return asked.nodes[expr.name]


def _within(left: pst.Expr, right: pst.Expr, asked: Asked) -> bool:
    sought = right.elements if isinstance(right, pst.Set) else (right,)
    if not all(isinstance(each, pst.EntityLit) for each in sought):
        raise Beyond
    return not _node(left, asked).within.isdisjoint(_uid(each, asked) for each in sought)
