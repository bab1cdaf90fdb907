"""What may import what, and how code looks here: each rule is a function over parsed modules.

A rule takes all modules and returns one line for each breach. `test_architecture_rules.py` feeds each rule
made-up modules that break it, and some that only look as if they did.
"""

from __future__ import annotations

import ast
import collections
import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent / "bundler"
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60

# The rooms, top down; each with the rooms that it may use. Every room may use the modules at the root.
AT_THE_ROOT = (
    *("bundler", "bundler.__main__", "bundler.model", "bundler.errors"),
    "bundler.lazy_dataclass",
)
ROOMS: Mapping[str, tuple[str, ...]] = {
    "cli": (
        *("rebuild", "deploy", "create", "report", "checks", "formats", "bundle", "wheels", "targets"),
        *("system", "ontarget"),
    ),
    "rebuild": (
        *("deploy", "create", "report", "checks", "formats", "bundle", "wheels", "targets", "system"),
        "ontarget",
    ),
    "deploy": ("create", "checks", "bundle", "wheels", "targets", "system", "ontarget"),
    "create": ("report", "checks", "formats", "bundle", "wheels", "targets", "system", "ontarget"),
    "report": ("checks", "formats", "bundle", "targets", "system"),
    "checks": ("formats", "bundle", "wheels", "targets", "system", "ontarget"),
    "formats": ("bundle", "system", "ontarget"),
    "bundle": ("wheels", "targets", "system", "ontarget"),
    "wheels": ("system", "ontarget"),
    "targets": ("system", "ontarget"),
    "system": ("ontarget",),
    "ontarget": (),
}
# Of a room that another may use, only these modules.
DOORS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("rebuild", "deploy"): ("bundler.deploy.bases", "bundler.deploy.render"),
    ("report", "checks"): (
        "bundler.checks.import_times",
        "bundler.checks.rules.codes",
    ),
}
# The stages of `create`: none imports another.
STAGES = ("environment", "resolve", "fetch", "install", "emit")
HOMES = {
    "bsdiff4": ("bundler.formats.delta.instructions",),
    "click": ("bundler.cli",),
    "cryptography": ("bundler.bundle.signing",),
    "cyclonedx": ("bundler.report.sbom",),
    "distributed": ("bundler.rebuild.dask.cluster", "bundler.rebuild.dask.worker"),
    "fsspec": ("bundler.system.urls.folder",),
    "jinja2": ("bundler.report.pages.page",),
    "pypi_attestations": ("bundler.create.attestations",),
    "sigstore": ("bundler.create.attestations",),
    "pydantic": ("bundler.create.attestations",),
    "packageurl": ("bundler.report.sbom",),
    "pathspec": ("bundler.checks.rules.lost",),
    "requests": ("bundler.system.http", "bundler.create.index_pages", "bundler.create.fetch"),
    "subprocess": ("bundler.system.process", "bundler.ontarget"),
    "tqdm": ("bundler.system.progress",),
    "uv": (
        "bundler.create.inputs.uv_lock",
        "bundler.create.resolve.uv",
        "bundler.create.resolve.output_cache",
        "bundler.targets.interpreters",
        "bundler.targets.managed",
    ),
    "virtualenv": ("bundler.create.environment",),
    "wheel": ("bundler.wheels.unpack",),
    "yaml": ("bundler.deploy.render", "bundler.create.inputs.conda_file"),
    "zstandard": ("bundler.formats.streams", "bundler.formats.squashfs"),
}
STARTS_PROGRAMS = ("system", "popen", "fork", "exec", "spawn", "posix_spawn")
PIP_FLAGS = {
    "--disable-pip-version-check",
    "--extra-index-url",
    "--find-links",
    "--ignore-installed",
    "--index-url",
    "--isolated",
    "--no-deps",
    "--no-index",
    "--no-input",
    "--no-warn-script-location",
    "--progress-bar",
    "--root-user-action",
    "--trusted-host",
    "--use-pep517",
}
# Requirements files and uv have options that are spelled like pip's, the command line offers its own, and
# fetching says how to build; but `python -m pip` stands in `pip` alone.
PIP_FLAG_HOMES = (
    "bundler.system.index_settings",
    "bundler.create.target_pip",
    "bundler.create.requirements",
    "bundler.create.resolve",
    "bundler.create.fetch",
    "bundler.bundle.wheelhouse",
    "bundler.cli",
)
RUNS_PIP = ("bundler.create.target_pip", "bundler.system.index_settings")
# These travel as one file each, joined at these marks; whatever else is in `ontarget/` runs alone.
JOINED = (
    *("bundler.ontarget.verify", "bundler.ontarget.describe_image", "bundler.ontarget.signatures"),
    *("bundler.ontarget.import_in_forks", "bundler.ontarget.apply", "bundler.ontarget.delta_format"),
    *("bundler.ontarget.new_bundle", "bundler.ontarget.load", "bundler.ontarget.parcel_format"),
)
JOINED_BLOCK = re.compile(r"^# <joined: (\w+)\.py>$.*?^# </joined>$", re.MULTILINE | re.DOTALL)
SPEAKERS = ("bundler.cli", "bundler.__main__", "bundler.ontarget")
EXITS = {"sys.exit", "sys.argv", "os._exit"}
DRAWERS = {"common", "helper", "helpers", "misc", "util", "utils"}


@dataclass(frozen=True, kw_only=True)
class Module:
    name: str
    tree: ast.Module
    source: str
    package: bool = False


Tree = Mapping[str, Module]
Rule = Callable[[Tree], list[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse(sources: Mapping[str, str], packages: Iterable[str] = ()) -> Tree:
    return {
        name: Module(
            name=name,
            tree=ast.parse(source, name, type_comments=within(name, ["bundler.ontarget"])),
            source=source,
            package=name in packages,
        )
        for name, source in sources.items()
    }


@functools.cache
def bundler() -> Tree:
    sources, packages = {}, set()
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        if path.name == "__init__.py":
            name = name.removesuffix(".__init__")
            packages.add(name)
        sources[name] = path.read_text(encoding="utf-8")
    return parse(sources, packages)


def within(name: str, homes: Iterable[str]) -> bool:
    """Whether a module is one of these or stands in one: `resolve`, `resolve.x`, not `resolve_x`."""
    return any(name == home or name.startswith(f"{home}.") for home in homes)


@functools.cache
def nodes(tree: ast.AST, *, typing: bool = True) -> tuple[ast.AST, ...]:
    """All nodes; without `typing`, those under `if TYPE_CHECKING:` are left out."""
    found: list[ast.AST] = []
    waiting = [*ast.iter_child_nodes(tree)][::-1]
    while waiting:
        node = waiting.pop()
        if not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        waiting += [*ast.iter_child_nodes(node)][::-1]
    return tuple(found)


def imports(module: Module, *, typing: bool = True) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import; of `from a import b`, `a.b`."""
    for node in nodes(module.tree, typing=typing):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                own = module.name.split(".")
                base = own[: len(own) - node.level + module.package] + base
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def edges(tree: Tree, *, typing: bool = False) -> Iterator[tuple[Module, int, str]]:
    """Imports between our own modules: the importer, the line, the imported module's name.

    :param typing: those under `if TYPE_CHECKING:` too, which do nothing at run time.
    """
    for module in tree.values():
        for line, name in imports(module, typing=typing):
            found = name if name in tree else name.rpartition(".")[0]
            if found in tree and found not in {module.name, "bundler"}:
                yield module, line, found


def room(name: str) -> str:
    """The room of a module: `create` of `bundler.create.emit`; empty for those at the root."""
    return "" if name in AT_THE_ROOT else name.split(".")[1]


def may_use(importer: str, name: str) -> bool:
    here, there = room(importer), room(name)
    if there == "":
        return name != "bundler.__main__"
    if here == "":
        return importer == "bundler.__main__"
    if here == there:
        return True
    return there in ROOMS.get(here, ()) and within(name, DOORS.get((here, there), [name]))


def rooms_use_what_stands_below(tree: Tree) -> list[str]:
    return [
        f"{module.name}:{line} imports {name}, which {room(module.name) or 'the root'} may not use"
        for module, line, name in edges(tree, typing=True)
        if not may_use(module.name, name)
    ]


def nothing_lies_at_the_root(tree: Tree) -> list[str]:
    return [f"{name} stands in no room" for name in tree if room(name) not in {"", *ROOMS}]


def stage(name: str) -> str:
    parts = name.split(".")
    return parts[2] if parts[1:2] == ["create"] and len(parts) > 2 and parts[2] in STAGES else ""


def stages_stand_apart(tree: Tree) -> list[str]:
    return [
        f"{module.name}:{line} imports {name}, another stage"
        for module, line, name in edges(tree)
        if stage(module.name) and stage(name) and stage(module.name) != stage(name)
    ]


def modules_live_where_they_are_used(tree: Tree) -> list[str]:
    """A module with one importer lives in its importer's room, unless it uses its own room's modules.

    The command line is everybody's importer, and a program in `ontarget/` has one starter.
    """
    importers: dict[str, set[str]] = collections.defaultdict(set)
    own: set[str] = set()
    for module, _, name in edges(tree, typing=True):
        importers[name].add(module.name)
        if room(module.name) == room(name):
            own.add(module.name)
    return [
        f"{name} is used by {importer} alone, which stands in another room"
        for name, (importer, *others) in importers.items()
        if not others
        and name not in own
        and room(name) not in {"", "ontarget", room(importer)}
        and room(importer) not in {"", "cli"}
    ]


def no_name_twice(tree: Tree) -> list[str]:
    """The command line's modules are named after commands; a package's name is a room's or a folder's."""
    names: dict[str, list[str]] = collections.defaultdict(list)
    for module in tree.values():
        if not module.package and room(module.name) not in {"", "cli"}:
            names[module.name.rpartition(".")[2]].append(module.name)
    return [f"one name for {' and '.join(same)}" for same in names.values() if len(same) > 1]


def no_import_cycle(tree: Tree) -> list[str]:
    """Imports inside functions count, and those for types alone: two that know each other are one."""
    graph: dict[str, set[str]] = {name: set() for name in tree}
    for module, _, name in edges(tree, typing=True):
        graph[module.name].add(name)
    while leaves := [name for name, needed in graph.items() if not needed & graph.keys()]:
        for name in leaves:
            del graph[name]
    return [f"in or above an import cycle: {', '.join(sorted(graph))}"] if graph else []


def one_library_one_home(tree: Tree) -> list[str]:
    return [
        f"{module.name}:{line} imports {name}, which is at home in {' and '.join(HOMES[name.split('.')[0]])}"
        for module in tree.values()
        for line, name in imports(module)
        if not within(module.name, HOMES.get(name.split(".")[0], [module.name]))
    ]


def only_process_starts_programs(tree: Tree) -> list[str]:
    return [
        f"{module.name}:{node.lineno} uses os.{node.attr}"
        for module in tree.values()
        if not within(module.name, HOMES["subprocess"])
        for node in nodes(module.tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) == "os"
        and node.attr.startswith(STARTS_PROGRAMS)
    ]


def only_pip_knows_its_command_line(tree: Tree) -> list[str]:
    breaches = []
    for module in tree.values():
        for node in nodes(module.tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            flag = text.replace("=", " ").split(" ")[0]
            if flag in PIP_FLAGS and not within(module.name, PIP_FLAG_HOMES):
                breaches.append(f"{module.name}:{node.lineno} uses pip's {flag}")  # type: ignore[attr-defined]  # a Constant
            words = [ast.unparse(part) for part in ast.iter_child_nodes(node)]
            if "'-m' 'pip'" in " ".join(words) and not within(module.name, RUNS_PIP):
                breaches.append(f"{module.name} runs pip")
    return breaches


def joined_lines(module: Module) -> dict[int, str]:
    """The lines between marks, each with the sibling whose body takes their place."""
    lines: dict[int, str] = {}
    for block in JOINED_BLOCK.finditer(module.source if module.name in JOINED else ""):
        first = module.source.count("\n", 0, block.start()) + 1
        lines |= dict.fromkeys(range(first, first + block[0].count("\n") + 1), f"bundler.ontarget.{block[1]}")
    return lines


def ontarget_needs_nothing(tree: Tree) -> list[str]:
    return [
        f"{module.name}:{line} imports {name}, which the target need not have"
        for module in tree.values()
        if within(module.name, ["bundler.ontarget"])
        for line, name in imports(module)
        if name.split(".")[0] not in sys.stdlib_module_names
        and joined_lines(module).get(line) != name.rpartition(".")[0]
    ]


def only_the_command_line_speaks(tree: Tree) -> list[str]:
    breaches = []
    for module in tree.values():
        if within(module.name, SPEAKERS):
            continue
        for node in nodes(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "input", "exit", "quit"}:
                breaches.append(f"{module.name}:{node.lineno} calls {ast.unparse(node.func)}")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) in {
                "sys.exit",
                "sys.argv",
                "os._exit",
            }:
                breaches.append(f"{module.name}:{node.lineno} uses {ast.unparse(node)}")
            elif isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node):
                breaches.append(f"{module.name}:{node.lineno} raises SystemExit")
        breaches += [
            f"{module.name}:{line} imports {name}" for line, name in imports(module) if name in EXITS
        ]
    return breaches


def functions(tree: Tree) -> Iterator[tuple[Module, Function, bool]]:
    """Every function, and whether it is a method with a `self` or `cls`."""
    for module in tree.values():
        for parent in [module.tree, *nodes(module.tree)]:
            for node in ast.iter_child_nodes(parent):
                if isinstance(node, Function):
                    static = any(ast.unparse(mark) == "staticmethod" for mark in node.decorator_list)
                    yield module, node, isinstance(parent, ast.ClassDef) and not static


def functions_are_annotated(tree: Tree) -> list[str]:
    """By type comments (PEP 484) in `ontarget/`: a Python 2 must get as far as the verifier's refusal."""
    breaches = []
    for module, node, method in functions(tree):
        if node.type_comment:
            continue
        positional = [*node.args.posonlyargs, *node.args.args][1 if method else 0 :]
        every = [*positional, node.args.vararg, *node.args.kwonlyargs, node.args.kwarg]
        bare = [arg.arg for arg in every if arg is not None and arg.annotation is None]
        if bare or node.returns is None:
            breaches.append(f"{module.name}:{node.lineno} {node.name} lacks types: {bare or 'of its result'}")
    return breaches


def functions_fit_a_screen(tree: Tree) -> list[str]:
    return [
        f"{module.name}:{node.lineno} {node.name} has {length} lines"
        for module, node, _ in functions(tree)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def files_stay_small(tree: Tree) -> list[str]:
    sizes = {name: len(module.source.splitlines()) for name, module in tree.items()}
    return [f"{name} has {lines} lines" for name, lines in sizes.items() if lines > MAX_FILE_LINES]


def no_drawers(tree: Tree) -> list[str]:
    return [f"{name} is named after nothing" for name in tree if DRAWERS & set(name.split("."))]


RULES: Sequence[Rule] = (
    rooms_use_what_stands_below,
    nothing_lies_at_the_root,
    stages_stand_apart,
    modules_live_where_they_are_used,
    no_name_twice,
    no_import_cycle,
    one_library_one_home,
    only_process_starts_programs,
    only_pip_knows_its_command_line,
    ontarget_needs_nothing,
    only_the_command_line_speaks,
    functions_are_annotated,
    functions_fit_a_screen,
    files_stay_small,
    no_drawers,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_bundler_keeps(rule: Rule) -> None:
    tree = bundler()
    assert {"bundler", "bundler.model", "bundler.system.process", "bundler.create"} <= tree.keys()
    assert rule(tree) == []


def test_tests_keep_the_size_of_files() -> None:
    paths = sorted(Path(__file__).parent.rglob("*.py"))
    tree = parse({str(path.relative_to(ROOT.parent)): path.read_text(encoding="utf-8") for path in paths})
    assert "tests/test_architecture.py" in tree
    assert files_stay_small(tree) == []
