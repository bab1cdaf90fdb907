"""What is known of programs that modules start while they are imported, and that slim images lack."""

from __future__ import annotations

import re

_STARTED = re.compile(
    r"subprocess\.py\", line \d+, in _execute_child\n(?:.*\n)?FileNotFoundError: \[Errno 2\] "
    r"No such file or directory: '(?P<program>[\w.+-]+)'$"
)
_SAID = {r"^ImportError: .*Bad git executable": "git"}
"""What distributions say in words of their own (GitPython) → the program."""
_PACKAGES = {
    "file": "file",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "gcc": "gcc",
    "git": "git",
    "ifconfig": "net-tools",
    "ip": "iproute2",
    "java": "default-jre-headless",
    "lsb_release": "lsb-release",
    "node": "nodejs",
    "ps": "procps",
}
"""Program → the package that has it in Debian and Ubuntu."""


def lacking(detail: str) -> str | None:
    """Return the program that an import could not start; `None` where it failed for another reason.

    :param detail: the end of a traceback, with the message of the exception.
    """
    if match := _STARTED.search(detail):
        return match["program"]
    return next((name for text, name in _SAID.items() if re.search(text, detail, re.MULTILINE)), None)


def advice(program: str, *, module: str) -> str:
    """Say what to do where the import of a module needs a program."""
    package = _PACKAGES.get(program)
    brings = f"install {package} in the image" if package else f"install what brings the program {program}"
    return (
        f"{brings}: it starts {program}, which slim images lack; if the image has it: --ignore EB201:{module}"
    )
