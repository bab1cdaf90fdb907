"""Builds small real ELF files with the machine's compiler."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support import machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EXTENSION = """
struct object; struct object *PyModule_Create2(void *, int);
static struct {{ long head[5]; const char *name; const char *doc; long size; void *rest[6]; }} definition = {{
    {{1}}, "{name}", 0, -1, {{0}} }};
{declaration}
void *PyInit_{name}(void) {{ {call} return PyModule_Create2(&definition, 1013); }}
"""
LIBRARY = "int foo_answer(void) { return 42; }\n"
CALLS = {"declaration": "int foo_answer(void);", "call": "if (foo_answer() != 42) return 0;"}


def compile_c(
    output: Path, source: str, *flags: str | Path, shared: bool = True, compiler: str = "gcc"
) -> Path:
    """Compile C (or, by `g++`, C++) into a shared library or a program."""
    machine.need(compiler)
    output.parent.mkdir(parents=True, exist_ok=True)
    code = output.with_name(f"{output.name}.{'c' if compiler == 'gcc' else 'cc'}")
    code.write_text(source)
    command = [compiler, *(("-shared", "-fPIC") if shared else ()), "-o", output, code, *flags]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    code.unlink()
    return output


def library(folder: Path, soname: str = "libfoo.so.1") -> Path:
    """Build a library with one function, `foo_answer`."""
    return compile_c(folder / soname, LIBRARY, f"-Wl,-soname,{soname}")


def extension(output: Path, name: str, *, needs: Path | None = None, flags: Sequence[str] = ()) -> Path:
    """Build an extension module without Python's headers, which the machine need not have.

    :param needs: a library of `library` whose function it calls when it is imported.
    """
    source = EXTENSION.format(name=name, **(CALLS if needs else {"declaration": "", "call": ""}))
    return compile_c(output, source, *((needs,) if needs else ()), *flags)
