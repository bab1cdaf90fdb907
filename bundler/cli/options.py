"""Options that several commands share, by the names that pip and uv give them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler.create.mend.pins import SECONDS, TRIES, Limits
from bundler.errors import InputError
from bundler.formats import NAMES
from bundler.model import BUILD_DISK, IndexSettings, Policy, RoomLimits
from bundler.ontarget.signatures import Rules
from bundler.system import scratch
from bundler.system.files import at_home

if TYPE_CHECKING:
    from bundler.checks.rules.publishers import PublisherRules

_PATH = click.Path(path_type=Path)
NO_PYTHON = "add --python 3.8 (or 3.7, or a path), or --image (`envbundle images list`)"

INDEX_OPTIONS = (
    click.option("-i", "--index-url", metavar="URL", help="Index instead of the configured one."),
    click.option("--extra-index-url", multiple=True, metavar="URL", help="A further index."),
    click.option(
        "-f", "--find-links", multiple=True, metavar="DIR|URL", help="Folder or page with files, as in pip."
    ),
    click.option("--no-index", is_flag=True, help="Use --find-links only."),
    click.option("--trusted-host", multiple=True, metavar="HOST", help="Accept this host without HTTPS."),
)  # fmt: skip
INDEX_FIELDS = ("index_url", "extra_index_url", "find_links", "no_index", "trusted_host")
"""Names of the values of `INDEX_OPTIONS`."""

REQUIRE_ISOLATION = click.option(
    "--require-isolation",
    is_flag=True,
    help="Refuse a machine that cannot isolate imports and builds from the caller's files and network.",
)

LIMIT_OPTIONS = (
    click.option(
        "--memory-limit", type=click.IntRange(64, 1 << 24), metavar="MIB",
        help="Memory of each process of an import, a freeze or a build.  [default: what the machine has]",
    ),
    click.option(
        "--process-limit", type=click.IntRange(8, 1 << 22), metavar="N",
        help="Processes and threads that they may have.  [default: 4096, or 512 a processor if that is more]",
    ),
    click.option(
        "--output-limit", type=click.IntRange(1, 1 << 14), default=RoomLimits.output_mib, show_default=True,
        metavar="MIB", help="End a program of theirs that prints more.",
    ),
)  # fmt: skip
IMPORT_TIMEOUT = click.option(
    "--import-timeout", type=click.IntRange(1, 86_400), default=RoomLimits.import_seconds, show_default=True,
    metavar="SECONDS", help="End an import that takes longer; counts for each process that imports.",
)  # fmt: skip

REQUIREMENT_OPTIONS = (
    click.argument("requirements", nargs=-1),
    click.option(
        "-r", "--requirement", "requirement_files", multiple=True, type=_PATH, metavar="FILE",
        help="Requirements file, pyproject.toml or conda's environment.yml; may be given several times.",
    ),
    click.option(
        "-c", "--constraint", "constraint_files", multiple=True, type=_PATH, metavar="FILE",
        help="Constraints file: versions that hold if something is needed at all.",
    ),
    click.option("--extra", "extras", multiple=True, metavar="NAME", help="An extra of -r pyproject.toml."),
    click.option(
        "--group", "groups", multiple=True, metavar="NAME", help="A dependency group of -r pyproject.toml."
    ),
    click.option(
        "--from-env", "from_env", type=_PATH, metavar="DIR",
        help="An environment that works today (virtualenv, conda, site-packages): its exact versions.",
    ),
    click.option(
        "--build-constraint", "build_constraint_files", multiple=True, type=_PATH, metavar="FILE",
        help="Constraints file for what builds from source use: setuptools<58.",
    ),
    click.option(
        "--python", metavar="VERSION|PATH",
        help="Python of the image: 3.8, 3.8.18 or a path, where neither image, lock nor input says it.",
    ),
    click.option("--glibc", metavar="2.N", help="glibc of the image; 3.7: 2.27, 3.8: 2.31 by default."),
    click.option(
        "--image", metavar="NAME|FILE",
        help="The image where it will run (see `envbundle images`): decides Python, glibc and libraries.",
    ),
    click.option(
        "--fit/--no-fit", default=True, show_default=True,
        help="Choose versions with which the image's server can live, where the profile knows it.",
    ),
    click.option(
        "--server", metavar="VERSION",
        help="Version of the image's server.  [default: the newest that the image can have]",
    ),
    click.option(
        "--resolver", type=click.Choice(["uv", "pip"]), default="uv", show_default=True,
        help="uv is fast; pip is the reference. Both give the same lock.",
    ),
    *INDEX_OPTIONS,
    click.option("--no-binary", multiple=True, metavar="NAME", help="Build these from source (:all:)."),
    click.option("--only-binary", multiple=True, metavar="NAME", help="Never build these (:all:)."),
    click.option("--pre", is_flag=True, help="Accept pre-releases."),
    click.option(
        "--exclude-newer", metavar="DATE|LENGTH",
        help="Ignore files uploaded after 2024-06-30, or in the last '7 days'.",
    ),
    click.option(
        "--refresh", is_flag=True, help="Resolve even where no page of the index has changed since last time."
    ),
    click.option(
        "--prefer-binary", is_flag=True,
        help="Take an older version that has a wheel for the target rather than build a newer one.",
    ),
    click.option(
        "--build-timeout", type=click.IntRange(1, 86_400), default=900, show_default=True, metavar="SECONDS",
        help="End a build from source that takes longer; counts for each distribution.",
    ),
    click.option(
        "--build-disk", type=click.IntRange(16, 1 << 24), default=BUILD_DISK, show_default=True,
        metavar="MIB",
        help="End a build from source that fills more of the disk; counts for each distribution.",
    ),
    *LIMIT_OPTIONS,
    click.option("--no-build", is_flag=True, help="Refuse what has no wheel, by name."),
    REQUIRE_ISOLATION,
    click.option(
        "--build-network", is_flag=True,
        help="Let builds from source see the network; what they require is fetched before, in any case.",
    ),
    click.option(
        "--no-python-downloads", is_flag=True, help="Never fetch an interpreter; fail where none is found."
    ),
)  # fmt: skip

DECISION_OPTIONS = (
    click.option("--strict", is_flag=True, help="Warnings stop the emission as errors do."),
    click.option(
        "--ignore", "ignores", multiple=True, metavar="CODE[:SUBJECT][=REASON]",
        help="Accept this finding; the manifest tells it with its reason. May be given several times.",
    ),
)  # fmt: skip
POLICY_OPTIONS = (
    *DECISION_OPTIONS,
    click.option(
        "--assume-lib", "assumed_libraries", multiple=True, metavar="SONAME",
        help="The image has this library (libgomp.so.1); verify.py checks that there.",
    ),
    click.option(
        "--deny-licence", "denied_licences", multiple=True, metavar="WORD",
        help="Refuse distributions whose licence holds this word, such as AGPL.",
    ),
)  # fmt: skip

PROVENANCE_OPTIONS = (
    click.option(
        "--provenance", is_flag=True,
        help="Verify who published each file, as far as the index offers attestations (PEP 740).",
    ),
    click.option(
        "--require-provenance", multiple=True, metavar="PATTERN",
        help="Refuse these (numpy, 'internal-*') where their publisher is not known; implies --provenance.",
    ),
    click.option(
        "--publisher", "publishers", multiple=True, metavar="NAME=KIND:WHO",
        help="The only publisher of a project: numpy=GitHub:numpy/numpy; implies --provenance.",
    ),
    click.option(
        "--trusted-root", type=_PATH, metavar="FILE",
        help="Verify against this Sigstore trust root.  [default: the one that sigstore ships]",
    ),
)  # fmt: skip

MEND_OPTIONS = (
    click.option(
        "--mend", is_flag=True,
        help="Where versions or undeclared requirements cause a failure, look for some that are proved; "
        "constraints.txt and added-requirements.txt in the bundle name them.",
    ),
    click.option(
        "--mend-tries", type=click.IntRange(1, 100), default=TRIES, show_default=True, metavar="N",
        help="How many sets of versions --mend tries.",
    ),
    click.option(
        "--mend-seconds", type=click.IntRange(1, 86_400), default=int(SECONDS), show_default=True,
        metavar="N", help="--mend begins no try after this many seconds.",
    ),
)  # fmt: skip

_SAME = (
    *("requirement_files", "constraint_files", "build_constraint_files", "from_env", "extras", "groups"),
    *("refresh", "python", "glibc", "image", "fit", "server", "resolver", "no_binary", "only_binary", "pre"),
    *("prefer_binary", "build_timeout", "build_disk", "no_build", "build_network", "require_isolation"),
)
"""Values of `REQUIREMENT_OPTIONS` that a `LockRequest` has under the same names."""

CACHE_DIR = click.option(
    "--cache-dir", type=_PATH, envvar="ENVBUNDLE_CACHE_DIR", metavar="DIR",
    help="Where wheels are kept between runs  [env: ENVBUNDLE_CACHE_DIR]",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and findings.")


def formats_option(
    names: Sequence[str], *, help_text: str, default: str | None = None
) -> Callable[[Any], Any]:
    """An option that may be given several times, and several formats with commas in between.

    :param default: `None`: it must be given.
    """

    def split(_: click.Context, option: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(word.strip() for one in given for word in one.split(",")))
        for word in chosen:
            if word not in names:
                raise click.BadParameter(f"{word!r} is none of {', '.join(names)}", param=option)
        return chosen

    return click.option(
        "--format", "kinds", multiple=True, required=default is None,
        default=(default,) if default else None, callback=split, metavar="FORMAT[,FORMAT…]", help=help_text,
    )  # fmt: skip


FORMATS = formats_option(
    NAMES,
    default="dir",
    help_text=f"{', '.join(NAMES)}: DIR itself, and archives beside it. Without dir "
    "only archives are left.  [default: dir]",
)


SIGN = click.option(
    "--sign", "sign_key", type=_PATH, metavar="KEY",
    help="Sign it with this SSH key, as `envbundle sign` does; of a key in an agent: its .pub file.",
)  # fmt: skip

SIGNATURE_OPTIONS = (
    click.option(
        "--allowed-signers", multiple=True, type=_PATH, metavar="FILE",
        help="Demand a signature by one of these public keys (the file of `ssh-keygen -Y verify`).",
    ),
    click.option(
        "--key", "keys", multiple=True, metavar="KEY",
        help="Text of a public key that may sign: 'ssh-ed25519 AAAA…'; no file.",
    ),
    click.option(
        "--revoked", multiple=True, type=_PATH, metavar="FILE", help="Public keys that may not, one a line."
    ),
    click.option(
        "--signatures", type=_PATH, metavar="DIR", help="Where they stand.  [default: BUNDLE.signatures]"
    ),
    click.option("--name", default="", help="Name that the bundle must be signed with."),
    click.option(
        "--not-older-than", default="", metavar="WHEN",
        help="Counter, date or time in UTC that the signature must reach: 17, 2026-11-21.",
    ),
)  # fmt: skip


def with_options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply options to a command so that `--help` lists them in the order given."""

    def apply(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


def signature_rules(values: Mapping[str, Any]) -> Rules | None:
    """Turn the values of `SIGNATURE_OPTIONS` into what a signature must fulfil; `None`: nobody asks for one.

    :raises InputError: a key or a file of them is none.
    """
    from bundler.ontarget.public_keys import BadKeyError
    from bundler.ontarget.signatures import read_rules

    words = (values["keys"], values["allowed_signers"], values["revoked"])
    try:
        return read_rules(*words, values["name"], values["not_older_than"])
    except BadKeyError as error:
        raise InputError(str(error), hint="`envbundle explain EB612` says what a signer is") from error


def require_folder(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Return a path that is no URL: as a folder of this machine it would be made, or missed, without a word.

    :raises InputError: it is one.
    """
    del ctx
    if url := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", str(value)):
        raise InputError(
            f"{param.human_readable_name} is a URL ({url[1]}), and must be a folder of this machine",
            hint="copy between the URL and a folder with the storage's own program, and name the folder",
        )
    return value


def require_signing_key(key: Path | None) -> None:
    """Require that the key of `--sign` can sign, before the work begins.

    :raises InputError: it cannot.
    """
    if key is not None:
        from bundler.bundle import signing

        with scratch.folder() as folder:
            signing.require_key(at_home(str(key)), scratch=folder, environ=os.environ)


def cache_dir(given: Path | None) -> Path:
    """The folder of the store."""
    from bundler.wheels.store import default_root

    return given if given is not None else default_root(os.environ)


def lock_request_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the values of `REQUIREMENT_OPTIONS` and `CACHE_DIR` into fields of a `LockRequest`.

    :raises InputError: --exclude-newer is neither a length of time nor a date.
    """
    return {
        **{name: values[name] for name in _SAME},
        "python": values["python"] or (None if values["image"] else _python(values)),
        "arguments": values["requirements"],
        "index": index_settings(values),
        "exclude_newer": _cutoff(values["exclude_newer"]),
        "python_downloads": not values["no_python_downloads"],
        "limits": limits_of(values),
        "cache_dir": cache_dir(values["cache_dir"]),
    }


def _python(values: Mapping[str, Any]) -> str | None:
    from bundler.create import inputs

    return inputs.python_of(
        environment=values["from_env"], files=values["requirement_files"], environ=os.environ
    )


def _cutoff(given: str | None) -> str | None:
    if given is None:
        return None
    from bundler.create import cutoff

    try:
        return cutoff.cutoff(given, now=datetime.now(timezone.utc))
    except InputError as error:
        raise InputError(f"--exclude-newer: {error.message}", hint=error.hint) from None


def index_settings(values: Mapping[str, Any]) -> IndexSettings:
    """Turn the values of `INDEX_OPTIONS` into settings."""
    return IndexSettings(
        index_url=values["index_url"],
        extra_index_urls=values["extra_index_url"],
        find_links=tuple(_absolute(one) for one in values["find_links"]),
        no_index=values["no_index"],
        trusted_hosts=values["trusted_host"],
    )


def _absolute(link: str) -> str:
    return link if "://" in link else str(Path(link).absolute())


def mend_of(values: Mapping[str, Any]) -> Limits | None:
    """Turn the values of `MEND_OPTIONS` into limits; `None`: nothing is to be mended."""
    return Limits(tries=values["mend_tries"], seconds=values["mend_seconds"]) if values["mend"] else None


def limits_of(values: Mapping[str, Any]) -> RoomLimits:
    """Turn the values of `LIMIT_OPTIONS`, and of `IMPORT_TIMEOUT` where a command has it, into limits."""
    return RoomLimits(
        memory_mib=values["memory_limit"],
        processes=values["process_limit"],
        output_mib=values["output_limit"],
        import_seconds=values.get("import_timeout", RoomLimits.import_seconds),
    )


def policy_of(values: Mapping[str, Any]) -> Policy:
    """Turn the values of `POLICY_OPTIONS`, or of `DECISION_OPTIONS` alone, into a policy.

    :raises InputError: an unknown code, no subject, or no library's name.
    """
    from bundler.checks import policy
    from bundler.checks.rules.codes import CODES

    return Policy(
        strict=values["strict"],
        ignores=tuple(policy.parse_ignore(text, known=CODES) for text in values["ignores"]),
        assumed_libraries=tuple(policy.parse_library(text) for text in values.get("assumed_libraries", ())),
        denied_licences=values.get("denied_licences", ()),
    )


def provenance_of(values: Mapping[str, Any]) -> PublisherRules | None:
    """Turn the values of `PROVENANCE_OPTIONS` into rules; `None`: nobody is to be asked.

    :raises InputError: a publisher or the trust root cannot be read.
    """
    demands = values["require_provenance"] or values["publishers"]
    if not (values["provenance"] or demands):
        if values["trusted_root"]:
            raise InputError("--trusted-root is for --provenance", hint="add --provenance, or leave it out")
        return None
    from bundler.bundle import identities
    from bundler.checks.rules.publishers import PublisherRules

    pins = (text.partition("=")[::2] for text in values["publishers"])
    return PublisherRules(
        require=values["require_provenance"],
        publishers=tuple(identities.parse_pin(name, who) for name, who in pins),
        trusted_root=identities.read_root(values["trusted_root"]) if values["trusted_root"] else "",
    )
