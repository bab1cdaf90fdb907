"""The rows of envbundle, and those that it is held against at single files and at its start."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark import local_index
from scripts.benchmark.rows import Row, Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.benchmark.rows import Place, Step

FULL = Work(bytecode="yes", verifies="every check", hashes="yes")
IMPORT = (
    "import time; t = time.perf_counter(); import pandas, sklearn; print('seconds', time.perf_counter() - t)"
)
DROP = Path(__file__).with_name("drop.py")
SUM_PROCESSES = 2
STARTS = 10
COMPLETION = (
    *("env", "_ENVBUNDLE_COMPLETE=bash_complete", "COMP_CWORD=2"),
    "COMP_WORDS=envbundle create --lo",
)
"""What bash asks of a program of click's."""
ZSTD_LEVEL = 9
SQUASHFS = (*("-comp", "zstd", "-Xcompression-level", "9", "-b", "128K", "-noappend"), "-processors", "2")
"""As envbundle packs."""


def rows(place: Place) -> tuple[Row, ...]:
    """Return them in the order in which a turn takes them."""
    return (
        *(*_creations(place), *_nightly(place), *_files(place), *_archives(place)),
        *(*_imports(place), *_starts(place)),
    )


def _program(place: Place) -> str:
    return str(place.tools.envbundle / "bin" / "envbundle")


def create(place: Place, *words: str | Path) -> Step:
    """`envbundle create` of this target into the place's output."""
    python = ("--python", str(place.python))
    accepted = (f"--ignore={finding}" for finding in place.ignored)
    return (_program(place), "create", "-q", *python, *accepted, "-o", str(place.out), *map(str, words))


def _creations(place: Place) -> tuple[Row, ...]:
    asked, changed = place.requirements, place.changed / "pylock.toml"

    def row(name: str, title: str, *words: str | Path, cold: bool = False, needs: Sequence[str] = ()) -> Row:
        return Row(
            name=name,
            title=title,
            peer="envbundle",
            steps=(create(place, *words),),
            cold=cold,
            output="tree",
            proved=True,
            needs=tuple(needs),
            work=FULL,
        )

    return (
        row("lock-warm", "`envbundle create --lock`, warm", "--lock", place.lock, needs=["locks"]),
        row(
            "lock-prove",
            "`envbundle create --lock --prove`, warm",
            "--lock",
            place.lock,
            "--prove",
            needs=["locks"],
        ),
        row(
            "lock-linked",
            "`envbundle create --lock --link-mode hardlink`, warm",
            "--lock",
            place.lock,
            "--link-mode=hardlink",
            needs=["locks"],
        ),
        row("asked-warm", "`envbundle create -r`, warm", "-r", asked),
        row("asked-cold", "`envbundle create -r`, cold", "-r", asked, cold=True),
        row(
            "changed",
            "`envbundle create --lock --prove`, one pin changed, its wheel in the store",
            "--lock",
            changed,
            "--prove",
            needs=["locks", "changed"],
        ),
    )


def nightly(place: Place, name: str = "nightly") -> tuple[str, str]:
    """The program and the file of a nightly run."""
    return _program(place), str(place.work / name / "envbundle.toml")


def unchanged(name: str, title: str, step: Step, *, peer: str, needs: str, bundles: int = 1) -> Row:
    """A nightly run that finds nothing to do."""
    return Row(
        name=name,
        title=title,
        peer=peer,
        steps=(step,),
        needs=(needs,),
        work=Work(verifies="file list, sizes, times"),
        expects=f"{bundles} unchanged",
    )


def _nightly(place: Place) -> tuple[Row, ...]:
    program, file = nightly(place)
    title = "`envbundle rebuild`, unchanged, resolution included"
    return (
        unchanged("rebuild", title, (program, "rebuild", file), peer="envbundle", needs="nightly"),
        unchanged(
            "rebuild-local",
            f"{title}, {local_index.WHAT}",
            (program, "rebuild", nightly(place, "nightly-local")[1]),
            peer=f"envbundle{local_index.ENDING}",
            needs="nightly-local",
        ),
        Row(
            name="rebuild-locked",
            title="`envbundle rebuild --locked`, unchanged",
            peer="envbundle",
            steps=((program, "rebuild", file, "--locked"),),
            needs=("nightly",),
            work=Work(verifies="file list, sizes, times"),
            expects="1 unchanged",
            repeat=STARTS // 2,
        ),
    )


def bundle(place: Place) -> Path:
    """A bundle that stands while all rows are run."""
    return place.work / "bundle"


def _read(place: Place) -> tuple[Step, ...]:
    """Return the step that reads the bundle: the rows of imports have dropped it from the page cache."""
    return (("sh", "-c", f"find {shlex.quote(str(bundle(place)))} -type f -exec cat {{}} + >/dev/null"),)


def sum_lists(place: Place) -> tuple[Path, ...]:
    """Parts of the bundle's SHA256SUMS."""
    return tuple(place.work / f"sums-{number}" for number in range(SUM_PROCESSES))


def _files(place: Place) -> tuple[Row, ...]:
    folder = bundle(place)
    verifier = (str(place.python), "-I", "-S", str(folder / "verify.py"), "--no-imports")
    jobs = " ".join(
        f"sha256sum --quiet -c {shlex.quote(str(one))} & p{one.name[5:]}=$!;" for one in sum_lists(place)
    )
    waits = " && ".join(f"wait $p{number}" for number in range(SUM_PROCESSES))
    script = f"cd {shlex.quote(str(folder))} && {{ {jobs} {waits}; }}"
    return (
        Row(
            name="verify",
            title="`verify.py --no-imports`, every hash",
            peer="envbundle",
            before=_read(place),
            steps=(verifier,),
            needs=("locks", "bundle"),
            work=Work(verifies="every hash, the file list, the target"),
        ),
        Row(
            name="sha256sum",
            title=f"`sha256sum -c` of the same files, {SUM_PROCESSES} processes",
            peer="coreutils",
            before=_read(place),
            steps=(("sh", "-c", script),),
            needs=("locks", "bundle", "sums"),
            work=Work(verifies="every hash"),
        ),
    )


def _archives(place: Place) -> tuple[Row, ...]:
    folder, out = bundle(place), place.out

    def row(name: str, title: str, peer: str, step: Step) -> Row:
        made = (("mkdir", str(out)),)
        needs = ("locks", "bundle")
        work = Work(verifies="every hash") if peer == "envbundle" else Work()
        return Row(
            name=name,
            title=title,
            peer=peer,
            before=(*made, *_read(place)),
            steps=(step,),
            needs=needs,
            output="archive",
            work=work,
        )

    pack = (_program(place), "pack", "-q", str(folder), "-o", str(out / "bundle"), "--format")
    source, target = shlex.quote(str(folder)), shlex.quote(str(out / "bundle"))
    tar = f"tar -C {source} -cf - . | zstd -q -{ZSTD_LEVEL} -T2 -o {target}"
    squash = ("mksquashfs", str(folder), str(out / "bundle"), "-quiet", "-no-progress", *SQUASHFS)
    return (
        row("pack-tar", "`envbundle pack --format tar.zst`", "envbundle", (*pack, "tar.zst")),
        row("tar", f"`tar` + `zstd -{ZSTD_LEVEL} -T2`", "coreutils", ("sh", "-c", tar)),
        row("pack-squashfs", "`envbundle pack --format squashfs`", "envbundle", (*pack, "squashfs")),
        row("mksquashfs", "`mksquashfs`, zstd, the same level, two processors", "coreutils", squash),
    )


def bare_bundle(place: Place) -> Path:
    """The same bundle without bytecode."""
    return place.work / "bare"


def _imports(place: Place) -> tuple[Row, ...]:
    def row(name: str, title: str, tree: Path) -> Row:
        site = tree / "lib" / f"python{place.version}" / "site-packages"
        return Row(
            name=name,
            title=title,
            peer="envbundle",
            before=((sys.executable, str(DROP), str(tree)),),
            steps=(mounted(tree, (str(place.python), "-s", "-c", IMPORT), path=site),),
            needs=("locks", "bundle", "bare"),
            work=Work(bytecode="yes" if tree == bundle(place) else "no"),
            said=True,
            imports="scikit-learn==",
        )

    what = "first `import pandas, sklearn`, read-only mount, page cache dropped"
    return (
        row("import", f"{what}, with bytecode", bundle(place)),
        row("import-bare", f"{what}, without bytecode", bare_bundle(place)),
    )


def mounted(tree: Path, words: Step, *, path: Path) -> Step:
    """The words with a folder mounted read-only over itself, in a mount namespace that ends with them."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    script = f'{mount} && export PYTHONPATH="$1" && shift && exec "$@"'
    return (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        str(tree),
        str(path),
        *words,
    )


def _starts(place: Place) -> tuple[Row, ...]:
    return (
        Row(
            name="version",
            title="`envbundle --version`",
            peer="envbundle",
            steps=((_program(place), "--version"),),
            repeat=STARTS,
        ),
        Row(
            name="help",
            title="`envbundle --help`",
            peer="envbundle",
            steps=((_program(place), "--help"),),
            repeat=STARTS,
            expects="rebuild",
        ),
        Row(
            name="complete",
            title="completion of `envbundle create --lo`",
            peer="envbundle",
            steps=((*COMPLETION, _program(place)),),
            repeat=STARTS,
            expects="--lock",
        ),
        Row(
            name="pass",
            title="`python -c pass`",
            peer="envbundle",
            steps=((str(place.tools.envbundle / "bin" / "python"), "-c", "pass"),),
            repeat=STARTS,
        ),
    )
