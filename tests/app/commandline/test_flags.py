import pytest

from gainrl.app.commandline.flags import read_flags
from gainrl.app.errors import ConfigError


def test_flags_and_settings_are_kept_apart():
    typed = read_flags(["-m", "seed=1", "--config-dir", "mine", "--dry-run", "a=b"], ["--dry-run"])
    assert typed.settings == ["seed=1", "a=b"]
    assert typed.flags == {"multirun": "", "config_dir": "mine", "--dry-run": ""}
    assert read_flags(["--cfg", "job"]).flags == {"cfg": "job"}
    assert read_flags(["--info", "seed=1"]).flags == {"info": ""}
    assert read_flags(["--info", "defaults"]).flags == {"info": "defaults"}
    assert read_flags(["-sc", "install=bash"]).passes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment", "x"], "type experiment=x"),
        (["-seed=3"], "type seed=3"),
        (["--seed=3"], "type seed=3"),
        (["--dryrun"], "did you mean --dry-run?"),
        (["--hlep"], "did you mean --help?"),
        (["--zzz"], "the flags are --help"),
        (["-m", "--cfg", "job", "seed=0,1"], "leave out --multirun, or type -m ... --dry-run"),
        (["--cfg", "jb"], "--cfg jb is unknown"),
        (["--config-dir"], "--config-dir needs a value"),
    ],
    ids=" ".join,
)
def test_other_flags_are_answered_with_what_to_type(arguments, message):
    with pytest.raises(ConfigError) as caught:
        read_flags(arguments, ["--dry-run", "--time-every-arm"])
    assert message in str(caught.value)
