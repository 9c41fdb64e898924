"""Sequences of tokens whose targets can only be known by keeping a state, drawn as they are needed.

Each task draws tokens, the target of every position, and which positions have one. The numbers of
a batch follow from the generator alone, so that a seed is a data set.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import torch
from torch import Generator, Tensor


class Batch(NamedTuple):
    """Sequences with their targets.

    Attributes:
        tokens: int64 (B, T), in 0 to ``vocabulary`` - 1.
        targets: int64 (B, T), in 0 to ``classes`` - 1; 0 where there is none.
        mask: bool (B, T), True where there is a target.
    """

    tokens: Tensor
    targets: Tensor
    mask: Tensor


class Task(ABC):
    """What is read and what is to be said."""

    vocabulary: int
    classes: int

    @abstractmethod
    def draw(self, count: int, length: int, generator: Generator) -> Batch:
        """Draw ``count`` sequences of ``length`` tokens."""


@dataclass(frozen=True)
class Words(Task):
    """The word problem of a finite group: after each letter, the product of all so far.

    Letters are drawn uniformly; the first is multiplied from the left of the next.

    Args:
        table: table[a][b] is the element a b; element 0 is the neutral one.
        letters: The elements that are letters: all, or some that generate the group.
    """

    table: Sequence[Sequence[int]]
    letters: Sequence[int]

    @property
    def vocabulary(self) -> int:
        """The letters."""
        return len(self.letters)

    @property
    def classes(self) -> int:
        """One class an element."""
        return len(self.table)

    @cached_property
    def _table(self) -> Tensor:
        return torch.tensor(self.table)

    def draw(self, count: int, length: int, generator: Generator) -> Batch:
        """Draw letters, and multiply them one after another."""
        tokens = torch.randint(self.vocabulary, (count, length), generator=generator)
        product, products = torch.zeros(count, dtype=torch.long), []
        for letter in torch.tensor(self.letters)[tokens].unbind(1):
            product = self._table[product, letter]
            products.append(product)
        return Batch(tokens, torch.stack(products, 1), torch.ones_like(tokens, dtype=torch.bool))


def cyclic(order: int) -> Words:
    """Return the words of Z_n, n = ``order``: a running sum modulo n, for n = 2 the parity."""
    return Words([[(a + b) % order for b in range(order)] for a in range(order)], range(order))


def permuting(*letters: tuple[int, ...]) -> Words:
    """Return the words of the group that some permutations generate.

    The product a b first applies b, as that of matrices does. Elements are in lexical order.
    """
    elements = [tuple(range(len(letters[0])))]
    for element in elements:  # it grows as long as there are new ones
        products = (_product(element, letter) for letter in letters)
        elements += [x for x in dict.fromkeys(products) if x not in elements]
    elements.sort()
    index = {p: i for i, p in enumerate(elements)}
    table = [[index[_product(a, b)] for b in elements] for a in elements]
    return Words(table, [index[x] for x in letters])


def _product(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a[i] for i in b)


@dataclass(frozen=True)
class Arithmetic(Task):
    """Sums, differences and products of digits modulo n, without brackets (arXiv 2207.02098).

    Digits and operators take turns; products bind more tightly than sums. The target of a digit
    is the value of the expression up to it, that of an operator is none. Tokens from n on are the
    operators +, - and *.

    Args:
        modulus: n, and the number of digits.
    """

    modulus: int

    @property
    def vocabulary(self) -> int:
        """The digits and three operators."""
        return self.modulus + 3

    @property
    def classes(self) -> int:
        """One class a residue."""
        return self.modulus

    def draw(self, count: int, length: int, generator: Generator) -> Batch:
        """Draw expressions, and keep the sum of what is settled and the product at its end."""
        n = self.modulus
        tokens = torch.randint(n, (count, length), generator=generator)
        signs = tokens[:, 1::2]
        signs.copy_(torch.randint(n, n + 3, signs.shape, generator=generator))
        targets, mask = torch.zeros_like(tokens), torch.zeros_like(tokens, dtype=torch.bool)
        settled, term = torch.zeros(2, count, dtype=torch.long)
        for t in range(0, length, 2):
            sign = tokens[:, t - 1] if t else torch.full_like(term, n)
            times, digit = sign == n + 2, tokens[:, t]
            settled = torch.where(times, settled, settled + term)
            new = torch.where(sign == n + 1, -digit, digit)
            term = torch.where(times, term * digit, new) % n
            targets[:, t] = (settled + term) % n
        mask[:, ::2] = True
        return Batch(tokens, targets, mask)


@dataclass(frozen=True)
class Recall(Task):
    """Multi-query associative recall (arXiv 2312.04927): pairs, then keys whose values are asked.

    A fifth of the length is pairs, that is two fifths of the tokens; the keys of a sequence
    differ, and every later token asks for one of them. Tokens from ``keys`` on are the values.

    Args:
        keys: Number of keys that there are, at least a fifth of the length.
        values: Number of values.
    """

    keys: int
    values: int

    @property
    def vocabulary(self) -> int:
        """Keys and values."""
        return self.keys + self.values

    @property
    def classes(self) -> int:
        """One class a value."""
        return self.values

    def draw(self, count: int, length: int, generator: Generator) -> Batch:
        """Draw pairs and queries."""
        pairs = length // 5
        keys = torch.rand(count, self.keys, generator=generator).argsort(1)[:, :pairs]
        values = torch.randint(self.values, (count, pairs), generator=generator)
        asked = torch.randint(pairs, (count, length - 2 * pairs), generator=generator)
        shown = torch.stack([keys, values + self.keys], dim=2).flatten(1)
        nothing = torch.zeros_like(shown)
        tokens = torch.cat([shown, keys.gather(1, asked)], dim=1)
        targets = torch.cat([nothing, values.gather(1, asked)], dim=1)
        return Batch(tokens, targets, (torch.arange(length) >= 2 * pairs).expand(count, -1))


@dataclass(frozen=True)
class Copying(Task):
    """Selective copying (arXiv 2312.00752): say in order what was shown between blanks.

    Symbols stand at random places among blanks; at the end as many marks ask for them. Token
    ``symbols`` is the blank, the one after it the mark.

    Args:
        symbols: Number of symbols to choose from.
        shown: How many are shown in a sequence, at most half of its length.
    """

    symbols: int
    shown: int

    @property
    def vocabulary(self) -> int:
        """The symbols, the blank and the mark."""
        return self.symbols + 2

    @property
    def classes(self) -> int:
        """One class a symbol."""
        return self.symbols

    def draw(self, count: int, length: int, generator: Generator) -> Batch:
        """Draw symbols and their places."""
        room = length - self.shown
        symbols = torch.randint(self.symbols, (count, self.shown), generator=generator)
        places = torch.rand(count, room, generator=generator).argsort(1)[:, : self.shown]
        tokens = torch.full((count, length), self.symbols)
        tokens.scatter_(1, places.sort(1).values, symbols)
        tokens[:, room:] = self.symbols + 1
        targets = torch.cat([torch.zeros(count, room, dtype=torch.long), symbols], dim=1)
        return Batch(tokens, targets, (torch.arange(length) >= room).expand(count, -1))


@dataclass(frozen=True)
class Hops(Task):
    """k-hop induction (arXiv 2402.09268), a synthetic task of ParaRNN (arXiv 2510.21450).

    A hop leads from position i to the last j <= i whose token before it, at j - 1, is that of i.
    The target of i is the token k hops away; there is none where a hop leads nowhere.

    Args:
        hops: k.
        vocabulary: Number of tokens.
    """

    hops: int
    vocabulary: int

    @property
    def classes(self) -> int:
        """One class a token."""
        return self.vocabulary

    def draw(self, count: int, length: int, generator: Generator) -> Batch:
        """Draw tokens, and follow the hops; position 0, where none leads, stands for nowhere."""
        tokens = torch.randint(self.vocabulary, (count, length), generator=generator)
        after = torch.zeros(count, self.vocabulary, dtype=torch.long)
        hop = torch.zeros_like(tokens)
        for t in range(1, length):
            after.scatter_(1, tokens[:, t - 1, None], t)
            hop[:, t] = after.gather(1, tokens[:, t, None]).squeeze(1)
        place = hop
        for _ in range(self.hops - 1):
            place = hop.gather(1, place)
        mask = place > 0
        return Batch(tokens, tokens.gather(1, place).where(mask, 0), mask)


TASKS: dict[str, Task] = {
    "parity": cyclic(2),
    "mod3": cyclic(3),
    "s3": permuting(*permutations(range(3))),
    "mod5": cyclic(5),
    "a5": permuting((1, 2, 0, 3, 4), (1, 2, 3, 4, 0)),
    "s5": permuting((1, 0, 2, 3, 4), (1, 2, 3, 4, 0)),
    "arithmetic": Arithmetic(5),
    "hops": Hops(hops=2, vocabulary=4),
    "recall": Recall(keys=64, values=16),
    "copying": Copying(symbols=8, shown=8),
}
