"""`models`: list, check, fetch, add."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.attached import fail, settings_of
from app.settings import Settings

app = typer.Typer(
    help="Base models: the packaged ones, and those of your own file, TUNESMITH_MODELS.", no_args_is_help=True
)

Ids = Annotated[list[str] | None, typer.Argument(help="Model ids; none: all.")]


@app.command("list")
def list_all() -> None:
    """List the base models of the catalogue: context, template, memory of a run by default, where they are.

    Example: `tunesmith-server models list`
    """
    from app.catalogue.at_hand import model_folder
    from app.catalogue.catalogue import CATALOGUE
    from app.catalogue.hub import bytes_of
    from app.catalogue.memory import usual

    settings = _with_catalogue()
    for entry in CATALOGUE.values():
        there = (model_folder(settings.cache_dir, entry) / "config.json").is_file()
        print(
            f"{entry.id}  revision {entry.revision[:12]}  {entry.parameters / 1e6:.0f}M parameters  "
            f"context {entry.context_length}  template {entry.template}  "
            f"lora {bytes_of(usual(entry).total)}  "
            f"qlora {bytes_of(usual(entry, use_quantization=True).total)}  "
            f"{'here' if there else f'not here ({bytes_of(entry.bytes)})'}  {entry.license}"
        )


@app.command("check")
def check(ids: Ids = None) -> None:
    """Read every file of models that are here, and say what is wrong with them; nothing is fetched.

    Example: `tunesmith-server models check smollm2-135m-instruct`
    """
    from app.catalogue.at_hand import check_model
    from app.catalogue.catalogue import CATALOGUE

    settings, bad = _with_catalogue(), 0
    for id in _named(ids):
        said = check_model(settings.cache_dir, CATALOGUE[id])
        bad += said is not None and said.wrong
        print(f"{id}  {said.sentence if said else 'good'}")
    if bad:
        raise typer.Exit(1)


@app.command("fetch")
def fetch(ids: Ids = None) -> None:
    """Make or fetch models now, so that no tuning waits for them; what broke off goes on.

    Example: `tunesmith-server models fetch smollm2-135m-instruct`
    """
    from app.catalogue.at_hand import ensure_model
    from app.catalogue.catalogue import CATALOGUE
    from app.catalogue.files import ModelError
    from app.catalogue.hub import access_of

    settings = _with_catalogue()
    for id in _named(ids):
        try:
            folder = ensure_model(
                settings.cache_dir,
                CATALOGUE[id],
                lambda text: typer.echo(text, err=True),
                access_of(settings),
            )
        except ModelError as error:
            fail(str(error))
        print(f"{id}  {folder}")


@app.command("add")
def add(
    source: Annotated[str, typer.Argument(help="A repository of the hub, OWNER/NAME, or a folder here.")],
    revision: Annotated[str | None, typer.Option(help="Commit, tag or branch; none: main.")] = None,
    id: Annotated[str | None, typer.Option(help="What the model is to be called; none: as there.")] = None,
) -> None:
    """Print the entry of a model for your models.toml, read from its own files, at the commit of now.

    Example: `tunesmith-server models add HuggingFaceTB/SmolLM2-360M-Instruct >> models.toml`
    """
    from app.catalogue.adding import as_toml, entry_of_folder, entry_of_repository
    from app.catalogue.files import ModelError
    from app.catalogue.hub import access_of

    settings = settings_of()
    try:
        if Path(source).is_dir():
            entry = entry_of_folder(Path(source), id)
        else:
            entry = entry_of_repository(access_of(settings), source, revision, id)
    except ModelError as error:
        fail(str(error))
    if entry.template == "none":
        typer.echo("it has no chat template: it can be tuned on plain text only", err=True)
    print(as_toml(entry), end="")


def _with_catalogue() -> Settings:
    from app.catalogue.catalogue import CatalogueError, use_catalogue

    settings = settings_of()
    try:
        use_catalogue(settings.models)
    except CatalogueError as error:
        fail(str(error))
    return settings


def _named(ids: list[str] | None) -> list[str]:
    from app.catalogue.catalogue import CATALOGUE

    if unknown := [id for id in ids or () if id not in CATALOGUE]:
        fail(f"there is no model {unknown[0]!r} in the catalogue; there are {', '.join(CATALOGUE)}")
    return ids or list(CATALOGUE)
