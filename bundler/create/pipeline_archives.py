"""The end of the way where archives are wanted: the bundle is packed before it comes to its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler import formats
from bundler.create import emit

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.create.request import CreateRequest
    from bundler.formats import Packed
    from bundler.system.progress import Progress
    from bundler.system.workspace import Workspace

ALONE = ("dir",)


def require_places(request: CreateRequest) -> None:
    """Refuse early what could never be put in its place.

    :raises InputError: something is in the way of the bundle or of an archive of it.
    :raises MachineError: a tool is missing.
    """
    place = request.place or request.output
    if "dir" in request.formats:
        emit.check_destination(place, force=request.force)
    if request.formats != ALONE:
        formats.require(request.formats, output=place, force=request.force)


def emitted_at(request: CreateRequest, work: Workspace) -> Path:
    """Where the bundle is emitted: at its place at once, or first where it is packed."""
    return (request.place or request.output) if request.formats == ALONE else work.scratch / "emitted"


def publish(request: CreateRequest, work: Workspace, *, progress: Progress) -> tuple[Packed, ...]:
    """Pack what was emitted, and put it in its place if the folder is wanted too."""
    if request.formats == ALONE:
        return ()
    place, emitted = request.place or request.output, emitted_at(request, work)
    archives = formats.pack(
        emitted,
        kinds=request.formats,
        output=place,
        scratch=work.scratch,
        force=request.force,
        progress=progress,
    )
    if "dir" in request.formats:
        emit.publish(emitted, place, force=request.force)
    return archives
