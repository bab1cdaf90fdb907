"""Plants tokens wherever a caller has them, runs commands, and looks for the tokens in all that comes out."""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import json
import os
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from tests.support.index import Index, serve
from tests.support.wheelmaker import make_wheel

from scripts.attacks.world import World, descendants, make_world

CHARACTERS = "abcdefghijkmnpqrstuvwxyz23456789"
AWKWARD = ("", "/", "@", "'", "%", ":", "#")
"""One stands in the middle of each token: what a careless pattern stops at."""
BUNDLES = """
[[bundle]]
name = "one"
requirements = "requirements.txt"
python = "3.8"
"""
KEYRING = """#!/bin/sh
case $* in
*"--mode creds"*) echo robot ;;
esac
echo {}
"""
"""Stands for the command of the keyring package: uv asks it for both, pip for the password."""
HARMLESS = {"AWS_SECRET_ACCESS_KEY", "UV_PUBLISH_TOKEN", "CI_JOB_TOKEN"}
"""Variables of the caller that are nobody's business."""


@dataclass(frozen=True, kw_only=True)
class Plant:
    """Where a token stands: the words, variables and files of a run."""

    words: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Path below the world's root → text."""
    commands: Sequence[str] = ("create", "create --json", "create, pip", "lock")
    """Names of those of `COMMANDS` in which it can stand."""


def _with_user(url: str, token: str, *, user: str = "robot") -> str:
    return url.replace("://", f"://{user}:{quote(token, safe='')}@", 1)


def plants(url: str, token: str, wheel: str) -> dict[str, Plant]:
    """Return name → where the token stands.

    :param url: of the index.
    :param wheel: name of the file of `alpha` there.
    """
    base = ("-r", "requirements.txt", "--python", "3.8")
    secret = _with_user(url, token)
    wanted = {"work/requirements.txt": "alpha\n"}
    file = f"{url.removesuffix('/simple')}/files/{wheel}"
    host = urlsplit(url).hostname
    return {
        "PIP_INDEX_URL": Plant(words=base, variables={"PIP_INDEX_URL": secret}, files=wanted),
        "PIP_EXTRA_INDEX_URL": Plant(
            words=base, variables={"PIP_INDEX_URL": url, "PIP_EXTRA_INDEX_URL": secret}, files=wanted
        ),
        "pip.conf": Plant(
            words=base,
            variables={"PIP_CONFIG_FILE": "../pip.conf"},
            files={**wanted, "pip.conf": f"[global]\nindex-url = {secret.replace('%', '%%')}\n"},
        ),
        "requirements file": Plant(words=base, files={"work/requirements.txt": f"-i {secret}\nalpha\n"}),
        "direct URL": Plant(
            words=base,
            variables={"PIP_INDEX_URL": secret},
            files={"work/requirements.txt": f"alpha @ {_with_user(file, token)}\nbeta\n"},
        ),
        "signed URL": Plant(
            words=base,
            variables={"PIP_INDEX_URL": secret},
            files={"work/requirements.txt": f"alpha @ {file}?sig={quote(token, safe='')}&se=2030\nbeta\n"},
        ),
        "fragment": Plant(
            words=base,
            variables={"PIP_INDEX_URL": secret},
            files={"work/requirements.txt": f"alpha @ {file}#token={quote(token, safe='')}\nbeta\n"},
        ),
        "proxy": Plant(
            words=base,
            variables={
                "PIP_INDEX_URL": "http://index.invalid/simple",
                "PIP_PROXY": f"robot:{quote(token, safe='')}@127.0.0.1:9",
                "PIP_RETRIES": "0",
            },
            files=wanted,
        ),
        "lock of pipenv": Plant(
            words=("-r", "Pipfile.lock", "--python", "3.8"),
            variables={"PIP_INDEX_URL": secret},
            files={
                "work/Pipfile.lock": json.dumps(
                    {
                        "_meta": {"sources": [{"name": "private", "url": secret, "verify_ssl": True}]},
                        "default": {"alpha": {"version": "==1.0"}, "beta": {"version": "==1.0"}},
                    }
                )
            },
        ),
        "netrc": Plant(
            words=base,
            variables={"PIP_INDEX_URL": url},
            files={**wanted, "home/.netrc": f"machine {host} login robot password {token}\n"},
        ),
        "unknown name": Plant(
            words=base, variables={"PIP_INDEX_URL": secret}, files={"work/requirements.txt": "nosuchname\n"}
        ),
        "wrong password": Plant(
            words=base, variables={"PIP_INDEX_URL": _with_user(url, f"{token}x")}, files=wanted
        ),
        "other variables": Plant(
            words=base,
            variables={"PIP_INDEX_URL": secret, **dict.fromkeys(HARMLESS, token)},
            files=wanted,
        ),
        "NETRC": Plant(
            words=base,
            variables={"PIP_INDEX_URL": url, "NETRC": "../another-netrc"},
            files={**wanted, "another-netrc": f"machine {host}\n login robot\n password {token}\n"},
        ),
        "damaged netrc": Plant(
            words=base,
            variables={"PIP_INDEX_URL": url},
            files={**wanted, "home/.netrc": f"machine {host} login robot password\n{token} {token}\n"},
        ),
        "keyring": Plant(
            words=base,
            variables={
                "PIP_INDEX_URL": url.replace("://", "://robot@", 1),
                "PIP_KEYRING_PROVIDER": "subprocess",
                "PATH": f"../bin:{os.environ['PATH']}",
            },
            files={**wanted, "bin/keyring": KEYRING.format(shlex.quote(token))},
        ),
        "archives": Plant(
            words=(*base, "--format", "dir,oci"),
            variables={"PIP_INDEX_URL": secret},
            files={"work/requirements.txt": f"alpha @ {_with_user(file, token)}\nbeta\n"},
            commands=("create", "create --json"),
        ),
        **_of_rebuilds(token, secret),
        **{
            f"image, {name}": Plant(
                words=("--container-image", image), files=_file_of_bundles(), commands=("matrix",)
            )
            for name, image in (
                ("user", f"robot:{token}@registry.invalid/image:1"),
                ("query", f"registry.invalid/image:1?token={token}"),
                ("fragment", f"registry.invalid/image#token={token}"),
            )
        },
        "git repository": Plant(
            words=base,
            variables={"PIP_INDEX_URL": secret},
            files={
                "work/requirements.txt": f"alpha @ git+{_with_user(url, token)}/alpha.git@v1\n",
            },
        ),
    }


def _file_of_bundles() -> dict[str, str]:
    return {"work/envbundle.toml": BUNDLES, "work/requirements.txt": "alpha\n"}


def _of_rebuilds(token: str, secret: str) -> dict[str, Plant]:
    """Return where a token stands of a cluster, which Dask cannot reach, and in an index for `rebuild`."""
    quoted = quote(token, safe="")
    addresses = {
        "user": f"tcp://robot:{quoted}@127.0.0.1:9",
        "no scheme": f"robot:{quoted}@127.0.0.1:9",
        "query": f"tls://127.0.0.1:9?token={quoted}",
        "unknown scheme": f"gateway://robot:{quoted}@127.0.0.1:9",
    }
    found = {
        f"scheduler, {name}": Plant(
            words=("--scheduler", "dask", "--publish", "memory://there"),
            variables={"PIP_INDEX_URL": secret, "DASK_SCHEDULER_ADDRESS": address},
            files=_file_of_bundles(),
            commands=("rebuild",),
        )
        for name, address in addresses.items()
    }
    alone = Plant(
        words=(),
        variables={"PIP_INDEX_URL": secret},
        files=_file_of_bundles(),
        commands=("rebuild", "rebuild --json"),
    )
    return {**found, "index of a rebuild": alone}


COMMANDS: dict[str, tuple[str, ...]] = {
    "create": ("-vv", "create", "--force", "-o", "out"),
    "create --json": ("create", "--json", "--force", "-o", "out"),
    "create, pip": ("-vv", "create", "--resolver", "pip", "--force", "-o", "out"),
    "lock": ("-v", "lock", "-o", "pylock.toml"),
    "rebuild": ("-vv", "rebuild", "-o", "bundles"),
    "rebuild --json": ("rebuild", "--json", "-o", "bundles"),
    "matrix": ("matrix", "--for", "kubernetes", "--shards", "2", "--claim", "nightly"),
}


def forms(token: str) -> list[bytes]:
    """Return what gives a token away: itself, quoted, and as HTTP has it."""
    pairs = [base64.b64encode(f"robot:{text}".encode()).decode()[6:-4] for text in (token, f"{token}x")]
    return [text.encode() for text in {token, quote(token), quote(token, safe=""), *pairs}]


def found_in(folder: Path, token: str, *, planted: set[Path]) -> Iterator[str]:
    """Yield the files at and below a folder that hold a token, or have it in their name.

    The cache is left out: it is the caller's own, and uv keeps the URLs there from which it fetched.
    """
    wanted = forms(token)
    for path in sorted(folder.rglob("*")):
        if path.is_relative_to(folder / "cache"):
            continue
        held = str(path).encode(errors="surrogateescape")
        if path.is_file() and not path.is_symlink() and path not in planted:
            content = path.read_bytes()
            held += gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        if any(form in held for form in wanted):
            yield str(path.relative_to(folder))


def look(world: World, words: Sequence[str], plant: Plant, token: str) -> tuple[int, list[str]]:
    """Run a command with a planted token; return its exit code, and where the token came out."""
    planted = {world.root / name for name in plant.files}
    for name, text in plant.files.items():
        path = world.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if path.parent.name == "bin" else 0o600)
    before = descendants()
    lines: set[str] = set()
    with tempfile.TemporaryFile() as output:
        process = world.start(*words, *plant.words, more=plant.variables, output=output)
        while process.poll() is None:
            lines |= {line for number, line in descendants().items() if number not in before}
            time.sleep(0.02)
        output.seek(0)
        printed = output.read()
    wanted = forms(token)
    told = (line for line in printed.splitlines() if any(form in line for form in wanted))
    wrong = [f"in what it prints: {line[:200]!r}" for line in told]
    # What a caller writes on the command line of envbundle is the caller's own affair.
    lines.discard(" ".join([sys.executable, "-m", "bundler", *words, *plant.words]))
    wrong += [
        f"in the process list: {line[:60]}" for line in lines if any(w in line.encode() for w in wanted)
    ]
    wrong += [f"in {name}" for name in found_in(world.root, token, planted=planted)]
    if process.returncode not in {0, 1, 2, 3}:
        wrong.append(f"exit code {process.returncode}")
    for path in planted:
        path.unlink()
    return process.returncode, wrong


@contextlib.contextmanager
def _index(world: World) -> Iterator[tuple[Index, str]]:
    wheel = make_wheel(world.wheels, "alpha", requires=["beta"])
    index, server = serve(world.wheels)
    try:
        yield index, wheel.name
    finally:
        server.shutdown()
        server.server_close()


def attack(world: World, *, places: Sequence[str], count: int, seed: int) -> int:
    """Make so many runs, or each once, and return from how many a token came out.

    :param places: how names of places begin; none: all of them.
    """
    chance = random.Random(seed)
    leaks = well = 0
    with _index(world) as (index, wheel):
        cases = [
            (name, where)
            for where, plant in plants(index.url, "x", wheel).items()
            if where.startswith(tuple(places) or "")
            for name in plant.commands
        ]
        count = count if cases else 0
        for number in range(count or len(cases)):
            command, where = cases[number % len(cases)]
            half = "".join(chance.choices(CHARACTERS, k=12))
            token = f"{half}{chance.choice(AWKWARD)}{''.join(chance.choices(CHARACTERS, k=12))}"
            index.password = ("robot", token)
            code, wrong = look(world, COMMANDS[command], plants(index.url, token, wheel)[where], token)
            leaks += bool(wrong)
            well += code == 0
            for one in wrong:
                print(f"  {command}, token in {where}: {one}", flush=True)
    print(f"{count or len(cases)} runs ({well} ended well), from {leaks} a token came out")
    return leaks


def main(argv: Sequence[str]) -> int:
    """Run `scripts/attack secrets` and return its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/attack secrets", description=__doc__)
    parser.add_argument("places", nargs="*", metavar="PLACE", help="its name, or how it begins")
    parser.add_argument("--count", type=int, default=0, help="runs (default: every place and command once)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="envbundle-secrets-") as folder:
        return (
            1
            if attack(make_world(Path(folder)), places=options.places, count=options.count, seed=options.seed)
            else 0
        )
