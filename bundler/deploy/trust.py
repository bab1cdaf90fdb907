"""What a deployment carries to verify a bundle's signature before its service starts (`--verify-with`).

The verifier, the keys and the signature come from here, not from the bundle: who can change the bundle cannot
change them. The signature is of this very bundle, so that no other one passes.
"""

from __future__ import annotations

import os
from pathlib import Path

from bundler.bundle import manifest, standalone
from bundler.checks.rules.codes import finding
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.ontarget import signatures
from bundler.ontarget.public_keys import BadKeyError
from bundler.system.writing import File

FOLDER = "trust"
"""In the output of `deploy`."""
ROOT = "/opt/envbundle-trust"
"""In the image."""
_VERIFIER = "verify.py"
_SIGNERS = "allowed_signers"
_SIGNATURES = "signatures"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What verifies a bundle in the image."""

    name: str
    """With which the bundle is signed."""
    texts: dict[str, str]
    """Path below the folder: content."""

    def files(self) -> list[File]:
        """Return the files for the output."""
        return [File(path=f"{FOLDER}/{path}", text=text) for path, text in sorted(self.texts.items())]

    def argv(self, python: str, bundle: str) -> list[str]:
        """Return the command that verifies a bundle in the image: every hash, every import, the signature."""
        return [
            *(python, "-I", f"{ROOT}/{_VERIFIER}", "--allowed-signers", f"{ROOT}/{_SIGNERS}"),
            *("--signatures", f"{ROOT}/{_SIGNATURES}", "--name", self.name, bundle),
        ]


def read(bundle: Path, signers: Path, name: str | None) -> Trust | tuple[Finding, ...]:
    """Return what verifies a bundle, or what is wrong with its signature.

    :param signers: a file as ssh-keygen(1) describes it.
    :param name: with which it must be signed; `None`: the name of its folder.
    :raises InputError: the file of signers cannot be read, or is none.
    """
    name = name or bundle.name
    try:
        text = signatures.read_file(str(signers), 0).decode("utf-8", "replace")
        rules = signatures.Rules(signatures.parse_signers(text), set(), name, "")
    except BadKeyError as error:
        raise InputError(
            f"--verify-with {signers}: {error}", hint="lines of `allowed signers`, as in docs/signing.md"
        ) from error
    folder = f"{bundle}{signatures.FOLDER_ENDING}"
    data = (bundle / manifest.NAME).read_bytes()
    if wrong := signatures.check_signatures(data, folder, rules):
        return tuple(finding(code, subject=subject, cause=cause) for code, subject, cause in wrong)
    texts = {_VERIFIER: standalone.source(), _SIGNERS: text}
    for each in _enough(data, folder, rules):
        content = signatures.read_file(os.path.join(folder, each))  # noqa: PTH118 - as its own code names it
        texts[f"{_SIGNATURES}/{each}"] = content.decode("utf-8")
    return Trust(name=name, texts=texts)


def _enough(data: bytes, folder: str, rules: signatures.Rules) -> tuple[str, ...]:
    """Return the files of one signature that says the name: the smallest that holds."""
    one = signatures.STATEMENT_SIGNATURE
    names = sorted(path.name for path in Path(folder).iterdir() if path.name.endswith(signatures.DSSE_ENDING))
    for each in (one, *names):
        if signatures.says_name(data, folder, each, rules):
            return (signatures.STATEMENT, one) if each == one else (each,)
    raise AssertionError("a signature that holds is one of these")
