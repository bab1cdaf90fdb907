"""Runs pip so that it builds nothing: what a source says of itself, pip is told by whoever started it.

The target's interpreter runs it as `python -I pip_without_builds.py PIP EXCHANGE COMMAND ...`; PIP is the
folder that holds pip, COMMAND and the rest is what pip is asked.

For each source EXCHANGE gets a file `N.json` with what pip would put into direct_url.json (`info`), the
`name` if pip knows it, whether it was asked for by a URL or path (`direct`), the `archive` and the unpacked
`tree`. pip waits for a folder `N` that holds one .dist-info folder with METADATA. Without an EXCHANGE (an
empty word), a source says nothing but the name by which it was asked for.

It relies on the insides of the few releases of pip that drive targets, which are pinned by hash.
"""

import importlib
import itertools
import json
import os
import sys
import tempfile
import time

MYPY = False
if MYPY:
    from typing import Any

PAUSE = 0.05  # seconds


def main(pip: str, exchange: str, *command: str) -> "Any":
    """Run pip, and return its exit code."""
    parent = os.getppid()
    numbers = itertools.count()
    sys.path.insert(0, pip)
    sources = importlib.import_module("pip._internal.distributions.sdist").SourceDistribution

    def prepare(source: "Any", *_: object, **__: object) -> None:
        asked = source.req
        if exchange:
            asked.metadata_directory = ask(asked, exchange, next(numbers), parent)
        else:
            asked.metadata_directory = nothing(asked.name)
        # As `InstallRequirement.prepare_metadata` goes on.
        if asked.name:
            asked.warn_on_mismatching_name()
        else:
            asked._set_requirement()  # noqa: SLF001 - what pip itself calls here
        asked.assert_source_matches_version()

    sources.prepare_distribution_metadata = prepare
    commands = importlib.import_module("pip._internal.cli.req_command")  # type: Any
    commands.install_req_from_req_string = keeping_out_files(commands.install_req_from_req_string)
    sys.argv = ["pip", *command]
    return importlib.import_module("pip._internal.cli.main").main(list(command))


def keeping_out_files(parse: "Any") -> "Any":
    """Return what parses a requirement of a distribution, and refuses one of a file of this machine.

    A distribution of an index could name a device, which pip reads until the disk is full, or a file of the
    caller. What the caller has named by its path, such as a project, may name others.
    """

    def parse_it(text: str, comes_from: "Any" = None, *more: object, **named: "Any") -> "Any":
        found = parse(text, comes_from, *more, **named)
        link = found.link
        if link is None or link.scheme.split("+")[-1] != "file":
            return found
        named_by = comes_from.original_link if comes_from else None
        if named_by is None or named_by.scheme != "file" or not os.path.exists(link.file_path):
            raise refused("{0} is a file of this machine".format(found))
        if not (os.path.isfile(link.file_path) or os.path.isdir(link.file_path)):
            raise refused("{0} is no file".format(found))
        return found

    refused = importlib.import_module("pip._internal.exceptions").InstallationError
    return parse_it


def ask(asked: "Any", exchange: str, number: int, parent: int) -> str:
    """Ask what a source says of itself, and return the folder of its metadata."""
    question = {
        "info": asked.download_info.to_dict(),
        "name": asked.name,
        "direct": asked.is_direct,
        "archive": asked.local_file_path,
        "tree": asked.source_dir,
    }
    answer = os.path.join(exchange, str(number))
    with open(answer + ".new", "w", encoding="utf-8") as stream:
        json.dump(question, stream)
    os.rename(answer + ".new", answer + ".json")
    while not os.path.isdir(answer):
        if os.getppid() != parent:
            sys.exit("nobody answers")
        time.sleep(PAUSE)
    (name,) = os.listdir(answer)
    return os.path.join(answer, name)


def nothing(name: str) -> str:
    """Return a folder of metadata that says a name alone."""
    folder = os.path.join(tempfile.mkdtemp(), name.replace("-", "_") + "-0.dist-info")
    os.mkdir(folder)
    with open(os.path.join(folder, "METADATA"), "w", encoding="utf-8") as stream:
        stream.write("Metadata-Version: 2.1\nName: {0}\nVersion: 0\n".format(name))
    return folder


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
