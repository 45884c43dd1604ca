import pytest
import sympy
from latex2sympy2_extended import latex2sympy

from gainrl.rewards.expressions import Unsupported, parse_expression
from gainrl.rewards.latex import rewrite
from gainrl.rewards.mathematics import same_value

x, y, n = (sympy.Symbol(name, real=True) for name in "xyn")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2x^2-3x+1", 2 * x**2 - 3 * x + 1),
        (r"\frac12xy", x * y / 2),
        ("1/2x", 1 / (2 * x)),
        ("6/2/3", sympy.Integer(1)),
        ("-x^2", -(x**2)),
        ("2^-3", sympy.Rational(1, 8)),
        ("2^10", sympy.Integer(1024)),
        (r"2\frac13", sympy.Rational(7, 3)),
        (r"\sin 2x + 1", sympy.sin(2 * x) + 1),
        (r"\sin x \cos y", sympy.sin(x) * sympy.cos(y)),
        (r"\sin^2 x", sympy.sin(x) ** 2),
        (r"\sin^{-1} x", sympy.asin(x)),
        (r"\sin(x)^2", sympy.sin(x) ** 2),
        (r"\log_2 8", sympy.Integer(3)),
        (r"\log 1000", sympy.Integer(3)),
        (r"\sqrt[3]{-8}", sympy.Integer(-2)),
        (r"\left|-3\right| |x|", 3 * sympy.Abs(x)),
        (r"\lfloor 3.7 \rfloor", sympy.Integer(3)),
        (r"n!", sympy.factorial(n)),
        (r"e^{i\pi}", sympy.Integer(-1)),
        (r"(3)(4)", sympy.Integer(12)),
        (r"30^\circ", sympy.pi / 6),
        (r"25\%", sympy.Rational(1, 4)),
    ],
)
def test_ordinary_expressions(text: str, value: sympy.Expr) -> None:
    assert same_value(parse_expression(rewrite(text)), value)


@pytest.mark.parametrize(
    "text",
    [
        r"\int_0^1 x\,dx",
        r"\sum_{k=1}^n k",
        r"\frac{dy}{dx}",
        "(1,2)",
        "x=1",
        "x 2",
        "",
        "3+",
        ")",
        "(1",
        r"\begin{pmatrix}1\end{pmatrix}",
        "٥",
        "х",
    ],
)
def test_anything_else_is_left_to_another_reader(text: str) -> None:
    with pytest.raises(Unsupported):
        parse_expression(rewrite(text))


def test_deep_nesting_ends_in_an_error_and_not_in_a_crash() -> None:
    with pytest.raises(RecursionError):
        parse_expression("(" * 5_000 + "1" + ")" * 5_000)


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{x^2-1}{x+1}",
        r"3\sqrt{x^2+y^2}",
        r"\frac{\sin x}{1+\cos x}",
        r"\sin x^2",
        r"2\pi - \frac{\pi}{x}",
        r"\binom{n}{3}",
        r"2 \cdot 3^n - n \cdot 2^{n-1}",
        r"\ln (x^2+1)",
        r"\ln x y",
        r"x_1 + 2 x_{12}",
        r"\alpha\beta - \sqrt[3]{\alpha}",
        r"\frac{1}{2}(x+y)^{2}",
        r"n(n+1)/2",
        r"\tan \frac{x}{2}",
        "0.25x + 1.5",
    ],
)
def test_it_reads_what_latex2sympy_reads(text: str) -> None:
    other = latex2sympy(text, is_real=True, normalization_config=None)
    assert same_value(parse_expression(rewrite(text)), other)
