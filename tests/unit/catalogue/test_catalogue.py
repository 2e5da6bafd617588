from __future__ import annotations

import subprocess
import sys

import pytest

from app.catalogue.catalogue import CATALOGUE, CatalogueError, Folder, Hub, Package, read_catalogue

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
        ('type = "hub"\nrepository = "a/b"\nrevision = "c0ffee"', Hub("a/b", "c0ffee")),
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
        ('some-model = "x"\n', "models.toml cannot be used"),
    ],
)
def test_a_catalogue_that_cannot_be_read_says_where(text: str, complaint: str) -> None:
    with pytest.raises(CatalogueError, match=complaint):
        read_catalogue(text)


def test_the_catalogue_loads_no_model_library() -> None:
    loaded = "import sys, app.catalogue.packaged, app.catalogue.memory; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
