"""``key=value`` as people type it."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from gainrl.app.commandline.settings import quoted, read_setting, read_settings, shell
from gainrl.app.errors import ConfigError

HARD = st.text(alphabet="ab $\\{}\"'=,:[]()\n\tΣ@#%.-", max_size=12)


@given(HARD)
def test_a_quoted_text_means_itself(text):
    override = OverridesParser.create().parse_override(f"k={quoted(text)}")
    assert OmegaConf.create({"k": override.value(), "a": "BAD", "b": "BAD"}).k == text


@given(HARD)
def test_a_quoted_text_is_one_value_even_in_a_sweep(text):
    assert not read_setting(f"k={quoted(text)}", multirun=True).sweeps


def test_choices_of_a_sweep_can_be_typed_again():
    assert read_setting("seed=range(0,3)", multirun=True).choices == ("0", "1", "2")
    assert read_setting("+model@a.b=x,y", multirun=True).choices == ("x", "y")


def test_a_text_comes_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text('Say "yes", {or} no = ${x}.\n', encoding="utf-8")
    (tmp_path / "b.txt").write_text("other", encoding="utf-8")
    one = read_setting("template.system=@a.txt", multirun=False)
    override = OverridesParser.create().parse_override(one.text())
    assert OmegaConf.create({"k": override.value()}).k == 'Say "yes", {or} no = ${x}.'
    assert len(read_setting("template.system=@a.txt,@b.txt", multirun=True).choices) == 2


def refusal(*arguments: str, multirun: bool = False) -> str:
    with pytest.raises(ConfigError) as caught:
        read_settings(arguments, multirun=multirun)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["seed", "=", "3"], "type seed=3"),
        (["seed=", "3"], "type seed=3"),
        (["seed", "=3"], "type seed=3"),
        (["seed=0,", "1"], "type seed=0,1"),
        (["seed=0,", "1,", "2"], "type seed=0,1,2"),
        (["vanilla"], "'vanilla' has no '='"),
        (["template.system=Solve", "it"], """'template.system="Solve it"'"""),
        (["template.system=Solve", "it", "well", "seed=3"], """'template.system="Solve it well"'"""),
        (["seed=3", "debug"], "'debug' has no '='; type debug=fast"),
        (["template.system=a=b"], """type 'template.system="a=b"'"""),
        (["template.system=@nowhere.txt"], "the file nowhere.txt cannot be read"),
        (["seed=0,1"], "add -m"),
        (["9x=3"], "'9x' is not the name of a setting"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_read_is_answered_with_what_to_type(arguments, message):
    assert message in refusal(*arguments)


@pytest.mark.parametrize("text", ["Solve it, then check.", 'He message "go", twice', "f(x) = {y}", "a=b", "don't"])
def test_the_quoting_that_is_advised_works(text):
    """The advice is typed into a shell."""
    import shlex

    advised = refusal(f"template.system={text}").partition("type ")[2].partition("\n")[0]
    (argument,) = shlex.split(advised.partition(", or template.system=@FILE")[0])
    override = OverridesParser.create().parse_override(read_setting(argument, multirun=False).text())
    assert override.value() == text


@pytest.mark.parametrize("multirun", [False, True])
def test_the_path_of_a_run_is_one_text_though_it_has_commas(multirun, tmp_path):
    run = tmp_path / "debug-fast,experiment-words" / "s0"
    run.mkdir(parents=True)
    setting = read_setting(f"resume={run}", multirun=multirun)
    assert (setting.value, setting.sweeps) == (f'"{run}"', False)


def test_two_sentences_in_a_sweep_are_asked_for():
    message = refusal("template.system=Think, then answer.", multirun=True)
    assert """'template.system="Think, then answer."'""" in message
    assert """'template.system="Think","then answer."'""" in message


def test_every_fault_of_a_line_is_reported():
    assert len(refusal("a=[1", "seed", "=", "3", "x=y=z").splitlines()) >= 3


def test_an_argument_in_the_quotes_of_a_shell():
    import shlex

    assert shlex.split(shell('it\'s "a" b')) == ['it\'s "a" b']
