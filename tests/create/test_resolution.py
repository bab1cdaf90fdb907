"""What resolvers say when they fail, word for word, and who must act on it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.create import requirements
from bundler.create.resolve.resolution import ResolveRequest, UnsatisfiedError, failure
from bundler.errors import MachineError
from bundler.model import IndexSettings

from tests.targets.test_target import make_interpreter, make_target

if TYPE_CHECKING:
    from pathlib import Path

SAID = {
    "uv, refused": """\
Failed to fetch: `http://127.0.0.1:9/simple/lib/`
  Caused by: error sending request for url (http://127.0.0.1:9/simple/lib/)
  Caused by: client error (Connect)
  Caused by: tcp connect error
""",
    "uv, certificate": """\
Failed to fetch: `https://h.test/simple/lib/`
  Caused by: invalid peer certificate: UnknownIssuer
""",
    "uv, offline": """\
  ╰─▶ Because lib was not found in the cache and you require lib, we can conclude that your requirements are
      unsatisfiable.

      hint: Packages were unavailable because the network was disabled.
""",
    "uv, password": """\
  ╰─▶ Because lib was not found in the package registry and you require lib, we can conclude that your
      requirements are unsatisfiable.

      hint: An index URL (https://h.test/simple) could not be queried due to a lack of valid authentication
      credentials (401 Unauthorized).
""",
    "uv, forbidden": """\
Failed to fetch: `https://h.test/simple/lib/`
  Caused by: HTTP status client error (403 Forbidden) for url (https://u:secret@h.test/simple/lib/)
""",
    "uv, repository": """\
Failed to download and build `gone @ git+file:///srv/empty@v1`
  Caused by: Git operation failed
  Caused by: failed to clone into: /cache/git-v0/db/1
  Caused by: process didn't exit successfully: `git fetch --force` (exit status: 128)
""",
    "uv, conflict": """\
No solution found when resolving dependencies:
  ╰─▶ Because app==1.0 depends on lib<2 and you require lib>=2, we can conclude that your requirements are
      unsatisfiable.
""",
    "pip, certificate": """\
    Could not fetch URL https://h.test/simple/lib/: There was a problem confirming the ssl certificate:
HTTPSConnectionPool(host='h.test', port=443): Max retries exceeded with url: /simple/lib/ (Caused by
SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed')))
""",
    "pip, name": """\
HTTPSConnectionPool(host='h.test', port=443): Max retries exceeded with url: /x.whl (Caused by
NameResolutionError("Failed to resolve 'h.test' ([Errno -3] Temporary failure in name resolution)"))
""",
    "pip, password": """\
HTTP error 401 while getting https://h.test/files/lib-1.0-py3-none-any.whl
401 Client Error: Unauthorized for url: https://h.test/files/lib-1.0-py3-none-any.whl
""",
    "pip, repository": """\
error: subprocess-exited-with-error

git clone --filter=blob:none --quiet file:///srv/empty /tmp/x did not run successfully.
exit code: 128
""",
    "pip, conflict": """\
Cannot install app and lib==2.0 because these package versions have conflicting dependencies.

The conflict is caused by:
    app 1.0 depends on lib<2
    The user requested lib>=2
ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/
""",
    "a name like trouble": """\
Could not find a version that satisfies the requirement forbiddenfruit==9 (from versions: 0.1.4)
No matching distribution found for forbiddenfruit==9
""",
    "a version like a status": """\
  ╰─▶ Because only lib<=1.401 is available and you require lib>=1.403, your requirements are unsatisfiable.
""",
    "no word": "",
}
MEANING = {
    "refused": (MachineError, "out of reach", "network"),
    "certificate": (MachineError, "out of reach", "certificate"),
    "offline": (MachineError, "out of reach", "network"),
    "name": (MachineError, "out of reach", "network"),
    "password": (MachineError, "wants credentials", ".netrc"),
    "forbidden": (MachineError, "wants credentials", ".netrc"),
    "repository": (MachineError, "a repository could not be read", "branch or tag"),
    "conflict": (UnsatisfiedError, "nothing satisfies", "lib>=2 ("),
    "a name like trouble": (UnsatisfiedError, "nothing satisfies", "requirements"),
    "a version like a status": (UnsatisfiedError, "nothing satisfies", "lib>=2 ("),
    "no word": (UnsatisfiedError, "failed without a word", "requirements"),
}


def asked(tmp_path: Path) -> ResolveRequest:
    file = tmp_path / "r.txt"
    file.write_text("app\nlib>=2\n")
    return ResolveRequest(
        requirements=requirements.read(files=[file]),
        target=make_target(),
        interpreter=make_interpreter(),
        settings=IndexSettings(),
        variables={},
        scratch=tmp_path,
        uv_cache=tmp_path / "uv",
        learn=lambda dist, _: pytest.fail(f"{dist} is built"),
    )


def test_a_lock_that_is_older_than_its_project(tmp_path: Path) -> None:
    request = asked(tmp_path)
    held = replace(request, requirements=replace(request.requirements, closed_by="pdm.lock"))
    error = failure(SAID["uv, conflict"], request=held, program="uv")
    assert (error.hint or "").startswith("lock the project again, for Python 3.8: app (")


@pytest.mark.parametrize("name", SAID)
def test_who_must_act(tmp_path: Path, name: str) -> None:
    program, _, what = name.rpartition(", ")
    kind, word, hint = MEANING[what]
    request = asked(tmp_path)
    error = failure(SAID[name], request=request, program=program or "uv")
    assert type(error) is kind
    assert word in error.message
    assert "secret" not in error.message
    assert hint in (error.hint or "")
    if "lib>=2" in hint:
        assert f"{tmp_path / 'r.txt'}:2" in (error.hint or "")
