"""Modules that lie about what is imported beside them: each decides about itself, and about nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from bundler.bundle import standalone
from bundler.checks.imports import evidence
from bundler.errors import EnvbundleError
from bundler.model import Obligation, RoomLimits
from bundler.ontarget import imports
from bundler.system.room import CONFINED

from tests.support.bundlemaker import interpreter, unpack
from tests.support.processes import has_ended, wait_until
from tests.support.wheelmaker import make_wheel

BROKEN = "import nothing_has_this_name\n"

FORGED_RECORDS = """
import json, marshal, os
said = [["ready"]]
for name in ("evil", "victim", "other"):
    said += [["begin", name], ["end", name, None, [[name, ["/bundle/" + name + ".py"]]], []]]
text = "".join(json.dumps(one) + "\\n" for one in said).encode()
binary = b"".join(marshal.dumps(tuple(one)) for one in said)
for number in range(64):
    for data in (text, binary):
        try:
            os.write(number, data)
            os.lseek(number, 0, 0)
            os.write(number, data)
        except OSError:
            pass
os._exit(0)
"""
"""Writes what a child would say of all modules to every descriptor."""

FOUND_STATE = """
import gc, sys
frame = sys._getframe()
while frame is not None:
    for state in list(frame.f_locals.values()):
        if isinstance(state, dict) and "modules" in state:
            state["modules"] = list(state["modules"]) + ["victim"]
            sys.modules["victim"] = sys
    frame = frame.f_back
for one in gc.get_objects():
    if isinstance(one, dict) and "report" in one and "modules" in one:
        one["modules"] = ["victim"]
"""
"""Looks for the reporter's state, and changes it."""

PATCHED = """
import builtins, importlib, json, os, posix, sys, types
real = builtins.__import__
def fake(name, *rest):
    return sys.modules.setdefault(name, types.ModuleType(name))
builtins.__import__ = importlib.import_module = fake
json.dumps = json.loads = lambda *rest, **more: "[]"
write = posix.write
os.write = posix.write = lambda number, data: write(number, data)
sys.modules["victim"] = types.ModuleType("victim")
"""
"""Makes every later import of its process a success."""

OTHERS_DESCRIPTORS = """
import os, sys
for process in [one for one in os.listdir("/proc") if one.isdigit() and one != str(os.getpid())]:
    for name in ("mem", "environ", "maps", "fd"):
        try:
            found = "/proc/%s/%s" % (process, name)
            if name == "fd":
                got = os.listdir(found)
            else:
                stream = open(found, "rb", 0)
                got = True if name == "mem" else stream.read(1)
        except OSError:
            continue
        if got:  # the files of a process that has ended can be opened, and are empty
            sys.stderr.write("reached " + found + "\\n")
            sys.stderr.flush()
            os._exit(7)
import ctypes
libc = ctypes.CDLL(None)
for process in (1, os.getppid()):
    if libc.ptrace(16, process, 0, 0) == 0:
        sys.stderr.write("traces %d\\n" % process)
        sys.stderr.flush()
        os._exit(7)
"""
"""Reaches for the processes that judge: ends with 7 if it gets anything of one."""

DAEMON = """
import ctypes, os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import glob
        data = b'["ready"]\\n["begin","victim"]\\n["end","victim",null,[],[]]\\n'
        end = time.time() + 20
        while time.time() < end:
            for path in glob.glob("/proc/[0-9]*/fd/*"):
                if "/%d/" % os.getpid() not in path:
                    try:
                        with open(path, "r+b", 0) as stream:
                            stream.write(data)
                    except (OSError, ValueError):
                        pass
    os._exit(0)
"""
"""Leaves a process that writes into every descriptor of every other one."""


def prove(
    folder: Path, python: Path, evil: str, *, seconds: int = RoomLimits.import_seconds
) -> evidence.ImportEvidence:
    """Import a hostile distribution, a broken one and a sound one, the first and the second as roots."""
    minor = python.name.removeprefix("python")
    prefix = folder / "tree"
    texts = {"evil": evil, "other": BROKEN, "sound": "", "victim": BROKEN}
    wheels = [make_wheel(folder, name, files={f"{name}.py": text}) for name, text in texts.items()]
    unpack(prefix, *wheels, minor=minor)
    scratch = folder / "scratch"
    scratch.mkdir()
    return evidence.import_modules(
        prefix,
        site_packages=f"lib/python{minor}/site-packages",
        modules={name: [name] for name in texts},
        obligations=[
            Obligation(kind="main", subject=name, modules=(name,), reason=f"{name} is asked for")
            for name in ("evil", "victim")
        ],
        interpreter=interpreter(python, minor),
        scratch=scratch,
        limits=RoomLimits(import_seconds=seconds),
    )


def judged(found: evidence.ImportEvidence) -> None:
    """Nothing that the hostile one does changes what is said of the broken ones and of the sound one."""
    victim = next(one for one in found.reached if one.obligation.subject == "victim")
    assert [(one.module, one.exception) for one in victim.failures] == [("victim", "ModuleNotFoundError")]
    assert [(one.module, one.exception) for one in found.failures if one.module != "evil"] == [
        ("other", "ModuleNotFoundError")
    ]
    assert set(found.modules) - {"evil"} == {"sound"}


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param(FORGED_RECORDS, id="records to every descriptor"),
        pytest.param(FOUND_STATE, id="the reporter's state"),
        pytest.param(PATCHED, id="builtins and importlib"),
        pytest.param("import os, signal\nos.kill(1, signal.SIGKILL)\n", id="kills the judge"),
        pytest.param(DAEMON, id="a daemon", marks=pytest.mark.thorough),
    ],
)
def test_a_module_decides_about_itself_alone(tmp_path: Path, python38: Path, evil: str) -> None:
    judged(prove(tmp_path, python38, evil, seconds=20))


def test_nothing_of_another_process_is_reached(tmp_path: Path, target_python: Path) -> None:
    found = prove(tmp_path, target_python, OTHERS_DESCRIPTORS)
    judged(found)
    if set(found.isolation) >= set(CONFINED):
        assert "evil" in found.modules, [one.detail for one in found.reached[0].failures]


STOPS = "import os, signal, time\n{0}os.kill(os.getppid(), signal.SIGSTOP)\n{1}time.sleep(60)\n"


@pytest.mark.thorough
def test_who_stops_the_judges_is_late(tmp_path: Path, python38: Path) -> None:
    judged(prove(tmp_path, python38, STOPS.format("", ""), seconds=2))


STOPS_FOR_A_WHILE = """
import os, signal, time
judge, end = os.getppid(), time.time() + 3
if os.fork() == 0:
    os.setsid()
    while time.time() < end:
        os.kill(judge, signal.SIGSTOP)
    os._exit(0)
time.sleep(60)
"""


def test_who_stops_the_judges_again_is_late(tmp_path: Path, python38: Path) -> None:
    """They are continued until they answer: the last stop can come after the first SIGCONT."""
    judged(prove(tmp_path, python38, STOPS_FOR_A_WHILE, seconds=1))


@pytest.mark.thorough
def test_who_keeps_the_judges_stopped_gets_no_proof_or_a_true_one(tmp_path: Path, python38: Path) -> None:
    """A process of its own stops them again and again: whatever they manage to say then, the run ends."""
    evil = STOPS.format("judge = os.getppid()\nif os.fork() == 0:\n  os.setsid()\n  while True:\n    ", "")
    ended = "while it imported"
    try:
        judged(prove(tmp_path, python38, evil.replace("os.getppid(), s", "judge, s"), seconds=1))
    except EnvbundleError as error:
        ended = str(error.__dict__)
    assert "while it imported" in ended


def test_who_ends_the_judges_gets_no_proof(tmp_path: Path, python38: Path) -> None:
    """The process that forks belongs to the same user, and can be killed by it: then nothing is proved."""
    evil = "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nimport time\ntime.sleep(5)\n"
    with pytest.raises(EnvbundleError) as told:
        prove(tmp_path, python38, evil)
    assert "while it imported" in str(told.value.__dict__)


@pytest.mark.parametrize(
    "line",
    [
        '["end","victim",null,[],[]]',
        '["end","a",null,[],["\\u0000"]]',
        '["end","a",null,[["m",["/\\ud834"]]],[]]',
        '["end","a",["E","",1,[]],[],[]]',
        '["end","a",["E","","",[["f",true,"g"]]],[],[]]',
        '["end","a",null,[],[],0]',
        "[" * 100_000,
        '{"end": "a"}',
        "9" * 5000,
        "",
    ],
)
def test_a_record_that_no_child_writes_ends_the_report(line: str) -> None:
    good = '["ready"]\n["begin","a"]\n'
    assert imports.read_records((good + line).encode(), ["a"]) == [["ready"], ["begin", "a"]]


def test_a_report_without_end_says_nothing() -> None:
    assert imports.read_records(b'["ready"]\n' + b" " * imports.MOST_REPORTED, []) == []


def test_texts_of_all_kinds_arrive(tmp_path: Path, python37: Path) -> None:
    """The child has an encoder of its own, for `json` can be the bundle's."""
    text = 'é "quoted" back\\slash 😀 tab\t nul\0 lone\ud800'
    evil = f"raise ValueError({text!a})\n"
    detail = prove(tmp_path, python37, evil).reached[0].failures[0].detail
    assert detail.endswith(f"ValueError: {text[:-1]}\\ud800")


def test_the_proof_is_one_file(python37: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(standalone.import_proof())
    subprocess.run([python37, "-m", "py_compile", program], check=True)


def test_where_nothing_isolates_a_killed_judge_leaves_nothing(tmp_path: Path, python38: Path) -> None:
    """In a room its processes would end with the room: here the kernel is told of each."""
    program = tmp_path / "imports.py"
    program.write_text(standalone.import_proof())
    told = tmp_path / "number"
    lines = f"import os, time\nopen({str(told)!r}, 'w').write('%d\\n' % os.getpid())\ntime.sleep(600)\n"
    unpack(tmp_path / "tree", make_wheel(tmp_path, "alpha", files={"alpha.py": lines}), minor="3.8")
    job = {"site_packages": "lib/python3.8/site-packages", "modules": {"alpha": ["alpha"]}, "timeout": 600}
    judge = subprocess.Popen(
        [python38, "-I", "-S", program, tmp_path / "tree"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert judge.stdin is not None
    with judge.stdin:
        judge.stdin.write(json.dumps({**job, "obligations": [], "beside": []}).encode())
    wait_until(lambda: told.exists() and told.read_text().endswith("\n"))
    number = int(told.read_text())
    assert not has_ended(number)
    judge.kill()
    judge.wait()
    try:
        wait_until(lambda: has_ended(number))
    finally:
        if not has_ended(number):
            os.kill(number, signal.SIGKILL)
