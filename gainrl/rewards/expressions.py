r"""A parser of ordinary expressions: arithmetic, powers, roots, fractions, functions of one argument, letters.

It reads what most answers consist of, a hundred times faster than a general LaTeX grammar, and raises `Unsupported` for
the rest (integrals, sums, matrices, sets, relations), which `mathematics` leaves to latex2sympy. Precedence, from loose
to tight: sums; products and quotients from left to right; products without a sign (``1/2x`` is ``1/(2x)``); signs;
powers, factorials and percent signs. ``\sin 2x + 1`` is ``\sin(2x) + 1``, and a whole number before a fraction of whole
numbers makes a mixed number.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import sympy

from gainrl.rewards.latex import tokens_of

MAX_DEPTH = 60

_FUNCTIONS: dict[str, Callable[[sympy.Expr], sympy.Expr]] = {
    r"\sin": sympy.sin, r"\cos": sympy.cos, r"\tan": sympy.tan, r"\cot": sympy.cot, r"\sec": sympy.sec,
    r"\csc": sympy.csc, r"\sinh": sympy.sinh, r"\cosh": sympy.cosh, r"\tanh": sympy.tanh, r"\arcsin": sympy.asin,
    r"\arccos": sympy.acos, r"\arctan": sympy.atan, r"\ln": sympy.log, r"\exp": sympy.exp, r"\log": sympy.log,
}  # fmt: skip
_INVERSE = {r"\sin": sympy.asin, r"\cos": sympy.acos, r"\tan": sympy.atan, r"\cot": sympy.acot}
_GREEK = frozenset(
    rf"\{name}"
    for names in (
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma",
        "tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar",
    )
    for name in names.split()
)
_CLOSING = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil", "|": "|"}
_NAMED_FUNCTIONS = frozenset("fghFGH")
_SIMPLE_SUBSCRIPT = re.compile(r"[0-9A-Za-z, +-]+|\\[A-Za-z]+")


class Unsupported(Exception):
    """Raised where a text holds more than an ordinary expression."""


def parse_expression(text: str) -> sympy.Expr:
    """The value of an ordinary expression, spelt as by `latex.rewrite`. Raises `Unsupported` for anything else."""
    parser = _Parser(text)
    value = parser.sum()
    if parser.place < len(parser.tokens):
        raise Unsupported(parser.tokens[parser.place])
    return value


def _is_digits(token: str) -> bool:
    return token.isascii() and token.isdigit()


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.spaced: list[bool] = []  # whether a space stands before each token
        space = False
        for token in tokens_of(text):
            if token.isspace():
                space = True
                continue
            letters = token if token.isalpha() and token.isascii() else (token,)
            for one in letters:
                self.tokens.append(one)
                self.spaced.append(space)
                space = False
        self.place = self.depth = 0
        self.bars = 0  # open bars of absolute values: inside them a bar closes

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if not token or (expected and token not in expected):
            raise Unsupported(token)
        self.place += 1
        return token

    def sum(self) -> sympy.Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RecursionError
        total = self.product()
        while self.peek() in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        self.depth -= 1
        return total

    def product(self) -> sympy.Expr:
        result = self.signed()
        while self.peek() in ("*", r"\cdot", r"\times", "/", r"\div"):
            divide = self.take() in ("/", r"\div")
            factor = self.signed()
            result = result / factor if divide else result * factor
        return result

    def signed(self, *, functions: bool = True) -> sympy.Expr:
        sign = 1
        while self.peek() in ("+", "-"):
            if self.take() == "-":
                sign = -sign
        return sign * self.factors(functions=functions)

    def factors(self, *, functions: bool) -> sympy.Expr:
        result = self.power()
        while self._starts_factor(functions):
            if _is_digits(self.peek()):
                raise Unsupported("a number after a factor")
            result = result * self.power()
        return result

    def _starts_factor(self, functions: bool) -> bool:
        token = self.peek()
        if token in _FUNCTIONS:
            return functions
        if token == "|":
            return self.bars == 0
        return (token.isascii() and token.isalnum()) or token in _GREEK or token in (
            "(", "{", "[", r"\pi", r"\frac", r"\sqrt", r"\binom", r"\lfloor", r"\lceil", r"\text", r"\infty"
        )  # fmt: skip

    def power(self) -> sympy.Expr:
        base = self.atom()
        while self.peek() in ("^", "!", r"\%", "%", r"^\circ"):
            mark = self.take()
            if mark == "!":
                base = sympy.factorial(base)
            elif mark == "^":
                if self.peek() == r"\circ":
                    self.take()
                    base = base * sympy.pi / 180
                else:
                    base = base ** self.exponent()
            else:
                base = base / 100
        return base

    def exponent(self) -> sympy.Expr:
        if self.peek() == "-":  # 2^-3
            self.take()
            return -self.exponent()
        if self.peek() in ("{", "("):
            return self.group()
        token = self.take()
        if _is_digits(token):
            return sympy.Integer(token)
        if token in _GREEK or token == r"\pi" or token.isalpha():
            self.place -= 1
            return self.atom()
        raise Unsupported(token)

    def group(self) -> sympy.Expr:
        opening = self.take(*_CLOSING)
        outer, self.bars = self.bars, int(opening == "|")
        inner = self.sum()
        self.take(_CLOSING[opening])
        self.bars = outer
        if opening == "|":
            return sympy.Abs(inner)
        return {r"\lfloor": sympy.floor, r"\lceil": sympy.ceiling}.get(opening, lambda same: same)(inner)

    def atom(self) -> sympy.Expr:
        token = self.peek()
        if token in _CLOSING:
            return self.group()
        if _is_digits(token) or token == ".":
            return self.number()
        self.take()
        if token == r"\frac":
            return self.fraction()
        if token == r"\binom":
            return sympy.binomial(self.group(), self.group())
        if token == r"\sqrt":
            return self.root()
        if token in _FUNCTIONS:
            return self.function(token)
        if token == r"\pi":
            return sympy.pi
        if token == r"\infty":
            return sympy.oo
        if token == r"\text":
            return self.word()
        if token in _GREEK or (len(token) == 1 and token.isascii() and token.isalpha()):
            return self.letter(token)
        raise Unsupported(token)

    def number(self) -> sympy.Expr:
        digits = self.take() if self.peek() != "." else "0"
        if self.peek() == "." and not (self.place and self.spaced[self.place] and digits != "0"):
            self.take()
            fraction = self.take() if _is_digits(self.peek()) and not self.spaced[self.place] else ""
            return sympy.Float(f"{digits}.{fraction or 0}", max(15, len(digits + fraction)))
        if self.peek() == r"\frac" and self._plain_fraction():
            self.take()
            return sympy.Integer(digits) + self.group() / self.group()
        return sympy.Integer(digits)

    def _plain_fraction(self) -> bool:
        shape = self.tokens[self.place + 1 : self.place + 7]
        return (
            len(shape) == 6
            and shape[0::3] == ["{", "{"]
            and shape[2::3] == ["}", "}"]
            and all(_is_digits(part) for part in shape[1::3])
        )

    def fraction(self) -> sympy.Expr:
        start = self.place
        numerator = self.group()
        if self.tokens[start + 1 : start + 2] == self.tokens[self.place + 1 : self.place + 2] == ["d"]:
            raise Unsupported("a derivative")
        return numerator / self.group()

    def root(self) -> sympy.Expr:
        index = sympy.Integer(2)
        if self.peek() == "[":
            index = self.group()
        inside = self.group()
        if index.is_odd and inside.is_negative:  # the real root
            return -sympy.root(-inside, index)
        return sympy.sqrt(inside) if index == 2 else sympy.root(inside, index)

    def function(self, name: str) -> sympy.Expr:
        function, power = _FUNCTIONS[name], None
        base = sympy.Integer(10) if name == r"\log" else None
        if name == r"\log" and self.peek() == "_":
            self.take()
            base = self.group()
        if self.peek() == "^":
            self.take()
            power = self.exponent()
            if power == -1 and name in _INVERSE:
                function, power = _INVERSE[name], None
        if self.peek() in ("(", "{", "[", "|"):
            argument = self.group()
            if self.peek() == "^" and power is None and base is None:  # \sin(x)^2 squares the value
                return function(argument)
        elif self.peek() in _FUNCTIONS:
            argument = self.power()
        else:
            argument = self.argument()
        value = function(argument) if base is None else sympy.log(argument) / sympy.log(base)
        return value if power is None else value**power

    def argument(self) -> sympy.Expr:
        result = self.signed(functions=False)
        while self.peek() in ("/", r"\cdot", r"\times") and self.tokens[self.place + 1 : self.place + 2] != []:
            if self.tokens[self.place + 1] in _FUNCTIONS:
                break
            divide = self.take() == "/"
            following = self.signed(functions=False)
            result = result / following if divide else result * following
        return result

    def word(self) -> sympy.Expr:
        self.take("{")
        letters = []
        while self.peek() != "}":
            letters.append(self.take())
        self.take()
        word = "".join(letters)
        if not word.isalpha():
            raise Unsupported(word)
        return sympy.Symbol(word, real=True)

    def letter(self, token: str) -> sympy.Expr:
        name = token.lstrip("\\")
        if self.peek() == "_":
            self.take()
            self.take("{")
            subscript = []
            while self.peek() != "}":
                subscript.append(self.take())
            self.take()
            spelt = "".join(subscript)
            if not _SIMPLE_SUBSCRIPT.fullmatch(spelt):
                raise Unsupported(spelt)
            return sympy.Symbol(f"{name}_{spelt}" if len(spelt) == 1 else f"{name}_{{{spelt}}}", real=True)
        if name == "e":
            return sympy.E
        if name == "i":
            return sympy.I
        if name in _NAMED_FUNCTIONS and self.peek() == "(":
            return sympy.Function(name)(self.group())
        return sympy.Symbol(name, real=True)
