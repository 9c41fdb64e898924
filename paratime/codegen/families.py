"""Which values of a functor are computed alike, so that one loop computes them all."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from paratime.codegen.expressions import Expression, in_order

Place = tuple[str, int]
"""A symbol or result: whose, such as ``"u"`` or ``"next"``, and which."""

SMALLEST = 3
"""Members of a family; fewer are written one after another."""


@dataclass(frozen=True)
class Statement:
    """A value that has a name, or a result.

    Attributes:
        value: What is computed.
        target: Which result that is; None for a value that others read.
    """

    value: Expression
    target: Place | None


@dataclass(frozen=True)
class Index:
    """The index of a member's operand or result, base + outer (t // inner_count) + inner ...

    Attributes:
        base: That of the first member.
        outer: Its step from one row of members to the next.
        inner: Its step within a row.
    """

    base: int
    outer: int
    inner: int


@dataclass(frozen=True)
class Family:
    """Statements that one expression describes, in two loops: rows of ``inner`` members.

    Attributes:
        members: In the order of the loops; a family of one needs none.
        inner: Members in a row.
        leaves: What the expression reads, in its order: a name, and its index.
        target: The result that a member is, likewise; None for values.
    """

    members: list[Statement]
    inner: int
    leaves: list[tuple[str, Index]]
    target: tuple[str, Index] | None


class Families:
    """The statements of some results, grouped.

    Args:
        targets: The results.
        symbols: Whose symbol is at which place, by identity.
    """

    def __init__(self, targets: list[tuple[Place, Expression]], symbols: dict[int, Place]) -> None:
        self.places = dict(symbols)
        self.arrays = {"h", "lam"}
        order = list(in_order(x for _, x in targets))
        uses = Counter(id(y) for x in order for y in x.operands)
        uses.update(id(x) for _, x in targets)
        self._named = {id(x) for x in order if x.operands and uses[id(x)] > 1}
        self._statements = [Statement(x, None) for x in order if id(x) in self._named]
        self._statements += [Statement(x, place) for place, x in targets]
        self._makers = {id(s.value): s for s in self._statements if s.target is None}
        self._levels: dict[int, int] = {}
        self._count = 0

    def in_order(self) -> Iterator[Family]:
        """Yield families so that each comes after all that it reads."""
        groups: dict[tuple[object, ...], list[Statement]] = {}
        for statement in self._statements:
            groups.setdefault(self._key(statement), []).append(statement)
        of = {id(s): key for key, members in groups.items() for s in members}
        done: set[tuple[object, ...]] = set()
        for root in (s for s in self._statements if s.target is not None):
            stack = [root]
            while stack:
                key = of[id(stack[-1])]
                waiting = [
                    self._makers[id(x)]
                    for s in groups[key]
                    for x in self._leaves(s)
                    if id(x) in self._makers and of[id(self._makers[id(x)])] not in done
                ]
                if waiting:
                    stack.append(waiting[0])
                    continue
                stack.pop()
                if key not in done:
                    done.add(key)
                    yield from self._families(groups[key])

    def is_leaf(self, x: Expression, of: Statement) -> bool:
        """Return whether the expression of a statement reads x, rather than computing it."""
        return x.kind == "symbol" or (id(x) in self._named and x is not self._top(of))

    def _top(self, of: Statement) -> Expression | None:
        return of.value if of.target is None or id(of.value) not in self._named else None

    def _leaves(self, of: Statement) -> list[Expression]:
        """Return what a statement reads but for constants, in order, as often as it reads it."""
        found, stack = [], [of.value]
        while stack:
            x = stack.pop()
            if self.is_leaf(x, of):
                found.append(x)
            else:
                stack += reversed(x.operands)
        return found

    def _key(self, of: Statement) -> tuple[object, ...]:
        """Return what the members of a family have in common."""
        kind = None if of.target is None else of.target[0]
        return kind, self._level(of), self._shape(of.value, of)

    def _level(self, of: Statement) -> int:
        """Return how many named values are computed one after another before a statement."""
        if id(of) not in self._levels:
            before = [self._makers[id(x)] for x in self._leaves(of) if id(x) in self._makers]
            self._levels[id(of)] = 1 + max(map(self._level, before), default=0)
        return self._levels[id(of)]

    def _shape(self, x: Expression, of: Statement) -> tuple[object, ...]:
        if self.is_leaf(x, of):
            return ("leaf",)
        if x.kind == "constant":
            return ("constant", repr(x.value))
        return (x.kind, *(self._shape(y, of) for y in x.operands))

    def _families(self, members: list[Statement]) -> Iterator[Family]:
        """Yield the fewest families whose members' operands follow a rule, in order."""
        alike: dict[object, list[Statement]] = {}
        for member in sorted(members, key=self._rank):
            names = tuple(self.places[id(x)][0] for x in self._leaves(member))
            alike.setdefault(names, []).append(member)
        for same in alike.values():
            whole = self._family(same)
            for found in [whole] if whole else self._runs(same):
                if found.target is None:
                    name = f"x{self._count}"
                    self._count += 1
                    self.places |= {id(s.value): (name, i) for i, s in enumerate(found.members)}
                    if len(found.members) > 1:
                        self.arrays.add(name)
                yield found

    def _runs(self, members: list[Statement]) -> Iterator[Family]:
        """Yield families of one loop each, as long as they get."""
        begin = 0
        while begin < len(members):
            end = begin + 1
            while end < len(members) and self._family(members[begin : end + 1], loops=1):
                end += 1
            end = end if end - begin >= SMALLEST else begin + 1
            found = self._family(members[begin:end])
            assert found is not None
            yield found
            begin = end

    def _rank(self, of: Statement) -> tuple[object, ...]:
        places = [self.places[id(x)] for x in self._leaves(of)]
        return (of.target or (), places)

    def _family(self, members: list[Statement], loops: int = 2) -> Family | None:
        """Return a family of all members, if their operands follow a rule."""
        places = [[self.places[id(x)] for x in self._leaves(s)] for s in members]
        targets = [[s.target] for s in members if s.target is not None]
        columns = list(zip(*places, strict=True)) + list(zip(*targets, strict=True))
        count = len(members)
        if 1 < count < SMALLEST and loops == 2:
            return None
        for inner in range(count, 0 if loops == 2 else count - 1, -1):
            if count % inner:
                continue
            found = [_rule(list(column), inner) for column in columns]
            if all(found):
                *leaves, last = [*found, None] if not targets else found
                return Family(members, inner, [x for x in leaves if x], last)
        return None


def _rule(places: list[Place], inner: int) -> tuple[str, Index] | None:
    """Return the rule of places in rows of ``inner``, if there is one."""
    name, base = places[0]
    by_row = places[inner][1] - base if len(places) > inner else 0
    within = places[1][1] - base if inner > 1 else 0
    for t, place in enumerate(places):
        if place != (name, base + by_row * (t // inner) + within * (t % inner)):
            return None
    return name, Index(base, by_row, within)
