"""The adapter that a tuning made, packed for download."""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Annotated

from litestar import get
from litestar.params import FromPath, QueryParameter

from app.api.downloads import Download
from app.api.errors import ApiError
from app.api.reading import the_tuning
from app.api.session import Authenticated, Session
from app.domain.tunings import Export, Tuning

MERGED = "merged/"


@get(
    "/v1/tunings.adapter/{id:str}",
    operation_id="downloadAdapter",
    answer_headers=("content-disposition",),
    scope="read",
    audit=True,
    media_type="application/gzip",
)
async def adapter(
    session: Authenticated,
    id: FromPath[str],
    form: Annotated[
        Export,
        QueryParameter(description="`merged`: the whole model, of a tuning created with `export` `merged`."),
    ] = "adapter",
) -> Download:
    """The adapter as a tar.gz that stock PEFT loads once it is unpacked; or the merged model likewise."""
    tuning = (await the_tuning(session, id)).tuning
    if tuning.status != "succeeded":
        raise ApiError(
            400, "adapter_not_ready", f"tuning {id} is {tuning.status}; only a succeeded one has an adapter"
        )
    if form == "merged":
        return _merged(session, tuning)
    with tempfile.TemporaryDirectory(prefix="tunesmith-adapter-") as folder:
        for file in tuning.result_files:
            if file.name.startswith("adapter/"):
                await session.service.store.get_file(file.key, Path(folder) / Path(file.name).name)
        packed = await asyncio.to_thread(_packed, Path(folder))

    async def chunks() -> AsyncIterator[bytes]:
        with packed:
            packed.seek(0)
            while chunk := packed.read(1024**2):
                yield chunk

    size, name = packed.tell(), f"{id}.tar.gz"
    return Download(session, chunks(), name=name, size=size, media_type="application/gzip")


def _merged(session: Session, tuning: Tuning) -> Download:
    """The files of the merged model, as they come from the store: they may be larger than the disk here."""
    files = [file for file in tuning.result_files if file.name.startswith(MERGED)]
    if not files:
        told = f"tuning {tuning.id} made an adapter only; create one with export merged"
        raise ApiError(400, "not_exported", told, "form")

    async def chunks() -> AsyncIterator[bytes]:
        packing = zlib.compressobj(0, wbits=31)  # weights cannot be made smaller
        for file in files:
            member = tarfile.TarInfo(file.name.removeprefix(MERGED))
            member.size = file.bytes
            yield packing.compress(_anonymous(member).tobuf(tarfile.GNU_FORMAT))
            async for chunk in session.service.store.stream(file.key):
                yield packing.compress(chunk)
            yield packing.compress(bytes(-file.bytes % tarfile.BLOCKSIZE))
        yield packing.compress(bytes(2 * tarfile.BLOCKSIZE)) + packing.flush()

    return Download(session, chunks(), name=f"{tuning.id}.tar.gz", size=None, media_type="application/gzip")


def _packed(folder: Path) -> IO[bytes]:
    """A folder's files as a tar.gz in a file without a name; its position is its size."""
    packed = tempfile.TemporaryFile(prefix="tunesmith-adapter-")  # noqa: SIM115 — whoever streams it closes it
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, arcname=path.name, filter=_anonymous)
    return packed


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


ROUTES = [adapter]
