"""The base image of a deployment: its name, and its profile from the catalogue or from a probe."""

from __future__ import annotations

import re

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.system.address import Address
from bundler.targets import catalogue
from bundler.targets.image import Image

_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""https://github.com/distribution/reference/blob/main/reference.go; no user or password can stand in one."""
LONGEST = 400
_MIRRORED = re.compile(r"(?:^|/)azureml/(?P<image>(?:curated/)?[^/]+)$")
"""A prebuilt image in Microsoft's registry, or under the same path in one's own."""
APP_ROOT = "/var/azureml-app"
"""Where Azure ML puts the code folder."""
PORT = 5001
"""Of scoring, liveness and readiness, in every prebuilt image: nginx listens there for the server."""
MOUNT = "AZUREML_EXTRA_PYTHON_LIB_PATH"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base image; without a profile its properties are unknown."""

    reference: str
    profile: Image | None = None

    @property
    def azureml(self) -> bool:
        """Whether it is a prebuilt inference image of Azure ML, so that their rules hold."""
        mount = self.profile.mount if self.profile else None
        return mount is not None and MOUNT in mount.variables

    @property
    def python(self) -> str:
        """Path or name of the interpreter in the image."""
        conda = self.profile.conda if self.profile else None
        return f"{conda.prefix}/bin/python" if conda else "python3"

    @property
    def app_root(self) -> str:
        """The folder to which the start script joins the path of the scoring script."""
        mount = self.profile.mount if self.profile else None
        return (mount.base if mount else None) or APP_ROOT

    @property
    def user(self) -> str | None:
        """The user that runs the service; `None`: unknown."""
        user = self.profile.user if self.profile else None
        return user.name if user else None

    @property
    def glibc(self) -> tuple[int, int] | None:
        """`None`: unknown."""
        return self.profile.target.glibc if self.profile else None


def check_reference(reference: str, *, tagged: bool = True) -> str:
    """Return the name of an image if it is one.

    :param tagged: whether it may have a tag or digest.
    :raises InputError: it is not the name of an image; a user or password cannot stand in one.
    """
    found = _REFERENCE.fullmatch(reference)
    if found and not tagged and found["name"] != reference:
        raise InputError(f"{reference!r} has a tag or digest", hint="name it without: deploy sets the tag")
    if len(reference) > LONGEST or not found:
        raise InputError(
            f"{Address(reference).shown[:120]!r} is no name of an image",
            hint="write registry/path/name:tag, without a user and password: `docker login` keeps these",
        )
    return reference


def choose(reference: str | None, image: str | None) -> Base | None:
    """Return the image that the caller named; `None`: none was named.

    :param reference: the name by which it is pulled.
    :param image: its profile: a name in the catalogue, or the file that the probe wrote. By default it is the
        one that the catalogue has for `reference`.
    :raises InputError: the reference is not the name of an image, there is no such profile, or the profile
        does not say from where the image is pulled.
    """
    profile = catalogue.load(image) if image else None
    if reference is not None:
        check_reference(reference)
        return Base(reference=reference, profile=profile or _known(reference))
    if profile is None:
        return None
    if not profile.references:
        raise InputError(
            f"the profile {profile.name} does not say where the image is pulled from",
            hint="add --base registry/path/name:tag",
        )
    return Base(reference=f"{profile.references[0]}:latest", profile=profile)


def _known(reference: str) -> Image | None:
    found = _REFERENCE.fullmatch(reference)
    mirrored = _MIRRORED.search(found["name"]) if found else None
    return catalogue.load(mirrored["image"]) if mirrored and mirrored["image"] in catalogue.names() else None


def require(named: Base | None, *, minor: str) -> Base:
    """Return the image that the caller named, or else the prebuilt one for the bundle's Python.

    :param minor: of the bundle's Python, `3.8`.
    :raises InputError: there is none, or it has another Python.
    """
    base = named or choose(None, catalogue.DEFAULTS.get(minor))
    if base is None:
        raise InputError(
            f"no image is named, and none is documented for Python {minor}",
            hint="add --base or --image",
        )
    has = base.profile.minor if base.profile else None
    if has not in {None, minor}:
        raise InputError(
            f"{base.reference} has Python {has}, and the bundle is for {minor}",
            hint="create the bundle for the image's Python, or name another image",
        )
    return base
