"""`envbundle sign`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli.options import JSON, QUIET
from bundler.cli.output import table
from bundler.ontarget.signatures import FOLDER_ENDING
from bundler.system.files import at_home, real_path

if TYPE_CHECKING:
    from bundler.bundle.signing import Signatures


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", required=True,
    help="Private key as ssh-keygen makes it; of a key in an agent or on a token: its .pub file.",
)  # fmt: skip
@click.option("--name", help="Name that verifiers ask for.  [default: that of the folder or archive]")
@click.option(
    "--counter", type=click.IntRange(0, 2**63 - 1), metavar="N",
    help="Grows from build to build, so that an older one can be refused.  [default: seconds since 1970]",
)  # fmt: skip
@QUIET
@JSON
def command(
    *, bundle: Path, key: Path, name: str | None, counter: int | None, quiet: bool, as_json: bool
) -> None:
    r"""Sign a bundle: its manifest, and with it every file.

    The signatures are written to NAME.signatures beside the bundle: `myenv.signatures` for `myenv` and for
    `myenv.tar.zst`, since the folder and its archives have one manifest. The bundle does not change. An OCI
    layout gets them as a referrer too, which registries keep beside its image. `envbundle verify`, and
    verify.py in the image, ask for them with --allowed-signers or --key; ssh-keygen and cosign read them
    too.

    \b
    Examples:
      envbundle sign src/myenv --key ~/.ssh/id_ed25519
      envbundle sign myenv.tar.zst --key release.pub --name scoring --counter 17
      envbundle verify src/myenv --allowed-signers signers --name myenv
    """
    bundle = Path(os.path.normpath(bundle.absolute()))
    signed = sign([bundle], key, name=name, counter=counter)
    if as_json:
        click.echo(json.dumps({"ok": True, **signed.as_json()}, indent=2))
    elif not quiet:
        click.echo(table(signed.rows()))
        if not signed.envelopes:
            click.echo("note: an agent's, a token's or a locked key signs no DSSE envelope", err=True)


def sign(
    bundles: Sequence[Path], key: Path, *, name: str | None = None, counter: int | None = None
) -> Signatures:
    """Sign a bundle; the signatures stand beside it, and in its OCI layouts too.

    :param bundles: the same one in any formats; the first gives the name.
    :raises InputError: it is no bundle, or the key cannot sign.
    :raises MachineError: there is no ssh-keygen.
    """
    from bundler.bundle import manifest as manifests
    from bundler.bundle import signing
    from bundler.formats import reading, referrers

    stem = reading.stem(bundles[0])
    now = datetime.now(timezone.utc)
    request = signing.SigningRequest(
        manifest=reading.read_document(bundles[0], manifests.NAME),
        name=name or stem.name,
        key=at_home(str(key)),
        signed_on=now,
        counter=counter if counter is not None else int(now.timestamp()),
        environ=os.environ,
    )
    # A link such as `current` moves on; the signatures are where `verify` looks: beside the bundle itself.
    signed = signing.sign(request, Path(f"{reading.stem(real_path(bundles[0]))}{FOLDER_ENDING}"))
    for path in bundles:
        if reading.kind_of(path) == "oci":
            referrers.attach(path, signed.folder)
    return signed
