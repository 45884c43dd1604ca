r"""Brings the many spellings of one answer into one: Unicode, LaTeX decoration, thousands separators.

Full-width digits and signs, the minus sign, superscripts, roots and vulgar fractions are read as what they mean.
Letters of another alphabet are not (a Cyrillic х is not x), nor are digits of other scripts.
"""

from __future__ import annotations

import re

_UNICODE = {
    "−": "-", "–": "-", "﹣": "-", "－": "-", "＋": "+", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "÷": "/", "⁄": "/", "∕": "/", "／": "/", "＝": "=", "，": ",", "．": ".", "（": "(", "）": ")", "［": "[",
    "］": "]", "｛": r"\{", "｝": r"\}", "％": r"\%", "°": r"^\circ ", "π": r"\pi ", "∞": r"\infty ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "∅": r"\emptyset ", "θ": r"\theta ", "ω": r"\omega ", "α": r"\alpha ", "β": r"\beta ", "\u00a0": " ",
    "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}",
    "⅖": r"\frac{2}{5}", "⅗": r"\frac{3}{5}", "⅘": r"\frac{4}{5}", "⅙": r"\frac{1}{6}",
    "⅚": r"\frac{5}{6}", "⅛": r"\frac{1}{8}", "⅜": r"\frac{3}{8}", "⅝": r"\frac{5}{8}",
    "⅞": r"\frac{7}{8}", "≈": r"\approx ",
} | {chr(ord("０") + digit): str(digit) for digit in range(10)}  # fmt: skip
_TRANSLATION = str.maketrans(_UNICODE)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT_RUN = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_UNICODE_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9]+|[A-Za-z]))")

_DECORATION = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|[bB]ig[lr]?|limits|nolimits|quad|qquad)(?![A-Za-z])|(?<!\\)\\[,!:;> ]|~"
)
_EXPLICIT_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|(?<!\\)\\[, ]|[\u2009\u202f])(?=[0-9]{3}(?![0-9]))")
_WHOLE_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|textrm)\s*\{([^{}]*[0-9][^{}]*)\}")
_BARE_BRACES = re.compile(r"(?<!\\)\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?!\s*,\s*[0-9])")
# 1 000, but not 2 100/300 (a mixed number) or a row of numbers.
_SPACED_THOUSANDS = re.compile(r"(?<![0-9.,/])(?<![0-9] )[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9])(?! ?/| [0-9])")
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_DOLLAR = re.compile(r"(?<!\\)\$")
_PLAIN_POWER = re.compile(r"\*\*\s*(?:\(([^()]*)\)|(-?[0-9A-Za-z.]+))")
_PLAIN_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)")


def clean(text: str, *, is_list: bool = False) -> str:
    """The answer in one spelling: ASCII and LaTeX, no decoration, no thousands separators, no final full stop.

    ``1,234`` is one number unless it stands in brackets or ``is_list`` says that commas separate answers.
    """
    text = _EXPLICIT_THOUSANDS.sub("", text.replace(r",\!", "{,}"))
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _UNICODE_ROOT.sub(
        lambda root: r"\sqrt{" + next(part for part in root.groups() if part is not None) + "}", text
    )
    text = text.translate(_TRANSLATION)
    text = _DECORATION.sub(lambda mark: "" if mark.group() == r"\!" else " ", text).strip()
    text = re.sub(r"\.\s*(\$?)$", r"\1", text).strip().strip("*").strip()
    for opening, closing in _WRAPPERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            inner = text[len(opening) : -len(closing)]
            if opening not in inner:
                text = inner.strip()
    if whole := _WHOLE_TEXT.fullmatch(text):
        text = whole.group(1).strip()
    if bare := _BARE_BRACES.fullmatch(text):
        text = rf"\{{{bare.group(1)}\}}" if "," in bare.group(1) else bare.group(1).strip()
    if len(_DOLLAR.findall(text)) % 2 and not text.startswith("$"):
        text = _DOLLAR.sub(" ", text).strip()
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = text.replace("{-}", "-").replace(r"\varnothing", r"\emptyset")
    text = re.sub(r"\\(?:neq|leq|geq)(?![A-Za-z])", lambda relation: relation.group()[:-1], text)
    text = _PLAIN_POWER.sub(lambda power: "^{" + (power.group(1) or power.group(2) or "") + "}", text)
    text = _PLAIN_ROOT.sub(r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![\\A-Za-z])pi(?![A-Za-z])", r"\\pi", text)
    if not is_list and not re.search(r"[(\[]|\\\{", text):
        text = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), text)
        text = _SPACED_THOUSANDS.sub(lambda number: number.group().replace(" ", ""), re.sub(r"\s+", " ", text))
    text = re.sub(r"\s+", " ", text).rstrip(".").strip()
    return text[:-1].strip() if text.endswith("\\") and not text.endswith("\\\\") else text
