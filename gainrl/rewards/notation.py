r"""Brings the many spellings of one answer into one: Unicode, LaTeX decoration, thousands separators.

Full-width digits and signs, the minus sign, superscripts, roots and vulgar fractions are read as what they mean.
Letters of another alphabet are not (a Cyrillic х is not x), nor are digits of other scripts.
"""

from __future__ import annotations

import re

from gainrl.rewards.latex import rewrite

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
    "⅞": r"\frac{7}{8}", "≈": r"\approx ", "—": "-", "―": "-", "℃": r"^\circ C", "℉": r"^\circ F",
    "→": r"\to ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
    "⟨": r"\langle ", "⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ",
    "∧": r"\land ", "∨": r"\lor ", "≡": r"\equiv ", "∖": r"\setminus ", "′": "'", "″": "''", "’": "'", "：": ":",
    "；": ";", "λ": r"\lambda ", "φ": r"\phi ", "γ": r"\gamma ", "δ": r"\delta ", "σ": r"\sigma ", "ρ": r"\rho ",
    "…": "...",
} | {chr(ord("０") + digit): str(digit) for digit in range(10)}  # fmt: skip
_TRANSLATION = str.maketrans(_UNICODE)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT_RUN = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_UNICODE_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9]+|[A-Za-z]))")

_EXPLICIT_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|(?<!\\)\\[, ]|[\u2009\u202f']|,\\!\s*)(?=[0-9]{3}(?![0-9]))")
_WHOLE_TEXT = re.compile(r"\\text\{([^{}]*[0-9][^{}]*)\}")
_BARE_BRACES = re.compile(r"(?<!\\)\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?!\s*,\s*[0-9])")
# 1 000, but not 2 100/300 (a mixed number) or a row of numbers.
_SPACED_THOUSANDS = re.compile(r"(?<![0-9.,/])(?<![0-9] )[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9])(?! ?/| [0-9])")
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_DOLLAR = re.compile(r"(?<!\\)\$")
_PLAIN_POWER = re.compile(r"\*\*\s*(?:\(([^()]*)\)|(-?[0-9A-Za-z.]+))")
_LABEL = re.compile(
    r"(?:\\text\{)?\s*(?:(?:the\s+)?(?:final\s+)?answer(?:\s+is)?\s*(?::|(?<=is)\s)|答案\s*[是为]?\s*:?|答\s*:)\s*\}?\s*",
    re.IGNORECASE,
)
_PLUS_OR_MINUS = re.compile(r"^\+\s*-(?=\s*[0-9\\A-Za-z])|\+\s*/\s*-")
_VECTOR = re.compile(r"\\langle((?:(?!\\[lr]angle).)*)\\rangle")
_TRANSPOSED = re.compile(r"[(\[](?P<entries>[^()\[\]]*,[^()\[\]]*)[)\]]\s*\^\s*\{?\s*(?:T|\\top|\\intercal)\s*\}?")
# ]0,1[ as French and German books write it, recognised by a bracket that opens the wrong way.
_OUTWARD = re.compile(r"([\[\]])([^\[\]()]*,[^\[\]()]*)([\[\]])")
_PERCENT_OF = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:\\?%|percent)\s*(?:\\text\{\s*of\s*\}|of\s)\s*(?=[0-9$])")
_COMBINATIONS = re.compile(r"(?:\{?\}?_?\{?\^?)([0-9]+)\}?\s*(?:\\text\{\s*C\s*\}|C)\s*_?\{?([0-9]+)\}?")


def clean(text: str, *, is_list: bool = False) -> str:
    """The answer in one spelling: ASCII and LaTeX, no decoration, no thousands separators, no final full stop.

    ``1,234`` is one number unless it stands in brackets or ``is_list`` says that commas separate answers.
    """
    text = _EXPLICIT_THOUSANDS.sub("", text)
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^{" + run.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _UNICODE_ROOT.sub(
        lambda root: r"\sqrt{" + next(part for part in root.groups() if part is not None) + "}", text
    )
    text = _unwrapped(text.translate(_TRANSLATION).strip())
    if len(_DOLLAR.findall(text)) % 2 and not _DOLLAR.match(text):
        text = _DOLLAR.sub(lambda mark: mark.group() if _is_currency(text, mark.start()) else " ", text).strip()
    text = rewrite(_PLAIN_POWER.sub(lambda power: "^{" + (power.group(1) or power.group(2) or "") + "}", text)).strip()
    text = _PLUS_OR_MINUS.sub(r"\\pm ", text)
    text = re.sub(r"(?<![A-Za-z\\])\\\\\s*$", "", text).strip()
    text = _LABEL.sub("", text, count=1) if _LABEL.match(text) else text
    if whole := _WHOLE_TEXT.fullmatch(text):
        text = whole.group(1).strip()
    if bare := _BARE_BRACES.fullmatch(text):
        text = rf"\{{{bare.group(1)}\}}" if "," in bare.group(1) else bare.group(1).strip()
    text = _one_notation(text.replace("{-}", "-"))
    if not is_list and not re.search(r"[(\[]|\\\{", text):
        text = _THOUSANDS.sub(lambda number: number.group().replace(",", ""), text)
        text = _SPACED_THOUSANDS.sub(lambda number: number.group().replace(" ", ""), re.sub(r"\s+", " ", text))
    text = re.sub(r"\s+", " ", text).strip()
    if not text.endswith("..."):
        text = text.rstrip(".").rstrip(",").strip()
    return text[:-1].strip() if text.endswith("\\") and not text.endswith("\\\\") else text


def _unwrapped(text: str) -> str:
    """Without dollars, brackets of mathematics and asterisks around the whole."""
    if not text.endswith("..."):
        text = re.sub(r"\.\s*(\$?)$", r"\1", text)
    text = text.strip().strip("*").strip()
    for opening, closing in _WRAPPERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            inner = text[len(opening) : -len(closing)]
            if opening not in inner:
                text = inner.strip()
    return text


def _is_currency(text: str, place: int) -> bool:
    return text[:place].rstrip()[-2:] in ("US", "HK", "NT") or text[place + 1 : place + 2].isdigit()


def _one_notation(text: str) -> str:
    """Vectors, transposed rows, open intervals and combinations in one notation each."""
    if "pi" in text:
        text = re.sub(r"(?<![\\A-Za-z])pi(?![A-Za-z])", r"\\pi", text)
    if "of" in text:
        text = _PERCENT_OF.sub(r"\\frac{\1}{100} \\cdot ", text)
    if r"\langle" in text:
        text = _VECTOR.sub(lambda match: f"({match[1].strip()})" if "," in match[1] else match.group(), text)
    if column := _TRANSPOSED.fullmatch(text):
        text = r"\begin{pmatrix}" + column["entries"].replace(",", r"\\") + r"\end{pmatrix}"
    if text.startswith("]") or text.endswith("["):
        text = _OUTWARD.sub(lambda match: "(["[match[1] == "["] + match[2] + ")]"[match[3] == "]"], text)
    if "C" in text and (chosen := _COMBINATIONS.fullmatch(text)):
        text = rf"\binom{{{chosen[1]}}}{{{chosen[2]}}}"
    return text
