from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.catalogue.catalogue import (
    CATALOGUE,
    CatalogueError,
    Folder,
    Hub,
    Package,
    operators_catalogue,
    read_catalogue,
)

MODEL = """
[some-model]
license = "MIT"
revision = "r1"
template = "chatml"
context_length = 2048
parameters = 1000
bytes = 2000
layers = 2
hidden_size = 8
intermediate_size = 16
heads = 2
key_value_heads = 1
vocabulary = 32
"""

FOLDER = '[some-model.source]\ntype = "folder"\npath = "m"\n'


def test_the_packaged_model_is_in_the_catalogue() -> None:
    entry = CATALOGUE["smollm2-135m-instruct"]
    assert entry.license == "Apache-2.0"
    assert entry.context_length == 8192
    assert isinstance(entry.source, Package)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('type = "package"\npackage = "p"\nfile = "f"\nsha256 = "00"', Package("p", "f", "00")),
        ('type = "folder"\npath = "/models/m"', Folder("/models/m")),
        (
            'type = "hub"\nrepository = "a/b"\nrevision = "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeeabcd"',
            Hub("a/b", "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeeabcd"),
        ),
    ],
)
def test_a_model_comes_from_one_of_three_sources(source: str, expected: object) -> None:
    entries = read_catalogue(f"{MODEL}[some-model.source]\n{source}\n")
    assert entries["some-model"].source == expected
    assert entries["some-model"].id == "some-model"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (MODEL, "source"),
        (f'{MODEL}[some-model.source]\ntype = "ftp"\n', "ftp"),
        (f'{MODEL}colour = "red"\n[some-model.source]\ntype = "folder"\npath = "m"\n', "colour"),
        ("[some-model\n", "models.toml cannot be used"),
        ('some-model = "x"\n', r"models.toml cannot be used: \[some-model\] a model is a table"),
        (MODEL.replace("layers = 2", 'layers = "two"') + FOLDER, r"\[some-model\] .*int.*\$\.layers"),
        (MODEL.replace("heads = 2", "heads = 0") + FOLDER, r"\$\.heads"),
        (MODEL.replace("some-model", "a/b") + FOLDER, r"\[a/b\] .*\$\.id|models.toml cannot be used"),
        (f'{MODEL}[some-model.source]\ntype = "hub"\nrepository = "a/b"\nrevision = "main"\n', "revision"),
    ],
)
def test_a_catalogue_that_cannot_be_read_says_where(text: str, complaint: str) -> None:
    with pytest.raises(CatalogueError, match=complaint):
        read_catalogue(text)


def test_all_faults_of_a_catalogue_are_told_at_once() -> None:
    text = MODEL.replace("layers = 2", "layers = -1") + FOLDER
    text += text.replace("some-model", "other-model").replace("heads = 2", "heads = 0").replace("-1", "1")
    with pytest.raises(CatalogueError, match=r"\[some-model\].*layers.*\[other-model\].*heads"):
        read_catalogue(text)


def test_an_operators_catalogue_adds_to_the_packaged_one_and_its_folders_are_named_from_it(
    tmp_path: Path,
) -> None:
    own = tmp_path / "models.toml"
    own.write_text(MODEL + FOLDER)
    found = operators_catalogue(own)
    assert list(found) == [*CATALOGUE, "some-model"]
    assert found["some-model"].source == Folder(str(tmp_path / "m"))
    own.write_text(f"without_packaged = true\n{MODEL}{FOLDER}")
    assert list(operators_catalogue(own)) == ["some-model"]
    with pytest.raises(CatalogueError, match=r"none\.toml cannot be read"):
        operators_catalogue(tmp_path / "none.toml")


def test_a_model_of_the_hub_is_at_its_commit(tmp_path: Path) -> None:
    commit = "0123456789" * 4
    text = MODEL.replace('revision = "r1"\n', "")
    source = f'[some-model.source]\ntype = "hub"\nrepository = "a/b"\nrevision = "{commit}"\n'
    assert read_catalogue(text + source)["some-model"].revision == commit


def test_the_catalogue_loads_no_model_library() -> None:
    loaded = "import sys, app.catalogue.at_hand, app.catalogue.memory; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
