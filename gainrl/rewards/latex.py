r"""LaTeX as a row of tokens, and the rewriting of synonymous commands into one of them.

After `rewrite` a text holds ``\frac``, ``\sqrt``, ``\binom`` and ``\mathbb`` with braces around each argument,
``\text`` as the only command for text, ``\ge`` for ``\geqslant``, ``\{`` for ``\lbrace``, ``^\circ`` for ``\degree``,
backslashes before the names of functions, and neither colours, sizes nor boxes.
"""

from __future__ import annotations

import re

MAX_DEPTH = 40


def _commands(names: str) -> frozenset[str]:
    return frozenset(rf"\{name}" for name in names.split())


_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|[0-9]+|[A-Za-z]+|\s+|.", re.DOTALL)

TEXT = r"\text"
_TEXTS = _commands("text textrm textbf textit textsf texttt textsc textnormal textup mbox hbox mathrm rm")
_DROPPED = _commands(
    "left right middle displaystyle textstyle scriptstyle limits nolimits big Big bigg Bigg bigl bigr Bigl Bigr biggl "
    "biggr Biggl Biggr ensuremath underline boxed fbox emph boldsymbol bm mathbf mathsf mathit mathtt bf it sf tt "
    "boldmath unboldmath cancel mathstrut strut hfill allowbreak nonumber large Large small checkmark"
)
# The first argument goes, what follows stays: \textcolor{blue}{7}.
_DROPPED_WITH_ARGUMENT = _commands("textcolor color phantom hphantom vphantom hspace vspace label tag")
_SPACES = {r"\,", r"\:", r"\;", r"\>", r"\ ", r"\quad", r"\qquad", r"\enspace", r"\thinspace", r"\space", "~"}
_SYNONYMS = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\nicefrac": r"\frac", r"\sfrac": r"\frac",
    r"\xfrac": r"\frac", r"\flatfrac": r"\frac", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lbrack": "[", r"\rbrack": "]", r"\lparen": "(", r"\rparen": ")",
    r"\lvert": "|", r"\rvert": "|", r"\vert": "|", r"\geq": r"\ge", r"\geqslant": r"\ge", r"\geqq": r"\ge",
    r"\leq": r"\le", r"\leqslant": r"\le", r"\leqq": r"\le", r"\neq": r"\ne", r"\lt": "<", r"\gt": ">",
    r"\varnothing": r"\emptyset", r"\ast": "*", r"\dots": r"\ldots", r"\cdots": r"\ldots", r"\dotsc": r"\ldots",
    r"\dotsb": r"\ldots", r"\rightarrow": r"\to", r"\longrightarrow": r"\to", r"\infin": r"\infty",
    r"\Bbb": r"\mathbb", r"\colon": ":", r"\lor": r"\text{ or }", r"\land": r"\text{ and }", r"\vee": r"\text{ or }",
    r"\wedge": r"\text{ and }", r"\backslash": r"\setminus", r"\smallsetminus": r"\setminus", r"\imath": "i",
    r"\textpi": r"\pi", r"\textdollar": r"\$", r"\pounds": "£", r"\euro": "€", r"\texteuro": "€", r"\cent": "¢",
    r"\textcent": "¢", r"\ohm": r"\Omega", r"\micro": r"\mu", r"\celsius": r"^\circ C", r"\percent": r"\%",
    r"\implies": r"\to", r"\overrightarrow": r"\vec",
    r"\R": r"\mathbb{R}", r"\Z": r"\mathbb{Z}", r"\N": r"\mathbb{N}", r"\Q": r"\mathbb{Q}",
    r"\C": r"\mathbb{C}", r"\reals": r"\mathbb{R}", r"\arcsec": r"\operatorname{arcsec}",
}  # fmt: skip
_DEGREE = {r"\circ", r"\degree", r"\textdegree", r"\deg"}
# The number of arguments that get braces.
_WITH_ARGUMENTS = {r"\frac": 2, r"\binom": 2, r"\sqrt": 1, r"\mathbb": 1, r"\overline": 1}
_FUNCTIONS = frozenset(
    name[1:]
    for name in _commands(
        "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan ln log exp gcd lcm max min lim sqrt frac"
    )
)
_UPRIGHT = {"i": "i", "e": "e", "d": "d", "pi": r"\pi"}


def tokens_of(text: str) -> list[str]:
    """The tokens of a text: a command, an escaped character, a run of digits, letters or spaces, or one character."""
    return _TOKEN.findall(text)


def rewrite(text: str) -> str:
    """The text with one spelling for each command, by the rules of this module."""
    return "".join(_rewritten(tokens_of(text), 0))


def argument(tokens: list[str], start: int) -> tuple[list[str], int] | None:
    """The argument of a command: what braces hold, else one character or command; and where the text goes on."""
    while start < len(tokens) and tokens[start].isspace():
        start += 1
    if start >= len(tokens) or tokens[start] in ("}", ")", "]", ",", "&"):
        return None
    if tokens[start] == "{":
        return inside(tokens, start)
    first = tokens[start]
    if len(first) > 1 and not first.startswith("\\"):  # a run: the argument is its first character
        tokens[start] = first[1:]
        return [first[0]], start
    return [first], start + 1


def inside(tokens: list[str], start: int, pair: str = "{}") -> tuple[list[str], int] | None:
    """What stands between the bracket at ``start`` and the one that closes it; None where nothing does."""
    depth = 0
    for place in range(start, len(tokens)):
        if tokens[place] == pair[0]:
            depth += 1
        elif tokens[place] == pair[1]:
            depth -= 1
            if depth == 0:
                return tokens[start + 1 : place], place + 1
    return None


def _rewritten(tokens: list[str], depth: int) -> list[str]:
    out: list[str] = []
    place = 0
    if depth > MAX_DEPTH:
        return tokens
    while place < len(tokens):
        token = tokens[place]
        place += 1
        token = _SYNONYMS.get(token, token)
        if token in _SPACES:
            out.append(" ")
        elif token == r"\!" or token in _DROPPED:
            if token in (r"\left", r"\right") and tokens[place : place + 1] == ["."]:
                place += 1  # an empty delimiter
        elif token in _DROPPED_WITH_ARGUMENT:
            place = skipped[1] if (skipped := argument(tokens, place)) else place
        elif token in _TEXTS or token == r"\operatorname":
            parsed = argument(tokens, place)
            if parsed is None:
                continue
            out.append(_text("".join(parsed[0]), token))
            place = parsed[1]
        elif token == "^" and (parsed := argument(list(tokens), place)) and set(parsed[0]) == {r"\prime"}:
            out.append("'" * len(parsed[0]))
            place = (argument(tokens, place) or parsed)[1]
        elif token == "_" and tokens[place : place + 1] != ["{"] and (parsed := argument(tokens, place)):
            out += ["_{", *parsed[0], "}"]
            place = parsed[1]
        elif token in _DEGREE or (token == "^" and _is_degree(tokens, place)):
            if token == "^":
                place = (argument(tokens, place) or ([], place))[1]
            out.append(r"^\circ ")
        elif token in (r"\bar", r"\dot") and (parsed := argument(tokens, place)) and "".join(parsed[0]).isdigit():
            out.append(rf"\overline{{{''.join(parsed[0])}}}")
            place = parsed[1]
        elif token in _WITH_ARGUMENTS or (token in ("sqrt", "frac") and tokens[place : place + 1] == ["("]):
            command = token if token.startswith("\\") else "\\" + token
            place = _append_arguments(out, command, tokens, place, depth)
        elif token in _FUNCTIONS and (not out or not out[-1].endswith(("\\", "_", "{"))):
            out.append(rf"\{token} ")
        elif token == "{" and (group := inside(tokens, place - 1)):
            out += ["{", *_rewritten(group[0], depth + 1), "}"]
            place = group[1]
        else:
            out.append(token)
    return out


def _append_arguments(out: list[str], command: str, tokens: list[str], place: int, depth: int) -> int:
    out.append(command)
    if command == r"\sqrt" and tokens[place : place + 1] == ["["] and (index := inside(tokens, place, "[]")):
        out += ["[", *index[0], "]"]
        place = index[1]
    for _ in range(_WITH_ARGUMENTS[command]):
        if command == r"\sqrt" and tokens[place : place + 1] == ["("]:
            parsed = inside(tokens, place, "()")
        else:
            parsed = argument(tokens, place)
        if parsed is None:
            break
        content, place = parsed
        if len(content) == 1 and content[0] in _WITH_ARGUMENTS:  # \frac\sqrt{2}2
            inner: list[str] = []
            place = _append_arguments(inner, content[0], tokens, place, depth + 1)
            out += ["{", *inner, "}"]
        else:
            out += ["{", *_rewritten(content, depth + 1), "}"]
    return place


def _text(content: str, command: str) -> str:
    name = content.strip()
    if name in _UPRIGHT and command != r"\textbf":
        return _UPRIGHT[name]
    if name in _FUNCTIONS and (command == r"\operatorname" or name not in ("min", "max", "sec")):
        return rf"\{name} "
    if not name:
        return " "
    if command == r"\operatorname":
        return rf"\operatorname{{{name}}}"
    for mark in (r"\,", r"\ ", r"\;", r"\:", r"\!", r"\quad", "~", "$"):
        content = content.replace(mark, " " if mark != "$" else "$")
    return rf"{TEXT}{{{content}}}"


def _is_degree(tokens: list[str], place: int) -> bool:
    parsed = argument(tokens.copy() if place < len(tokens) and len(tokens[place]) > 1 else tokens, place)
    return parsed is not None and "".join(parsed[0]).strip() in _DEGREE
