"""The reference page of all checks, docs/checks.md, made of the same texts as `envbundle explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.checks.rules.codes import CODES

if TYPE_CHECKING:
    from bundler.checks.rules.code import Code

FAMILIES = {
    "EB1": "leaks from the builder",
    "EB2": "incomplete",
    "EB3": "does not fit the target",
    "EB4": "shadows and conflicts",
    "EB5": "lost by the mount or the upload",
    "EB6": "supply chain",
}
HEAD = """\
# The checks

<!-- Made by scripts/docs from bundler/checks/codes/: change the texts there. -->

Everything that envbundle can find wrong with a bundle. A code never changes its meaning; one that is given
up is never used again. `envbundle explain CODE` prints the same text.

An *error* stops the emission, a *warning* does not (with `--strict` it does), *info* is told with `--json`
and in the manifest. A check may say less than its severity here where it knows that the harm is smaller.
`--ignore CODE:subject=reason` accepts a finding; the manifest tells it with its reason.
"""


def page() -> str:
    """Return the text of docs/checks.md."""
    parts = [HEAD, _index()]
    for prefix, title in FAMILIES.items():
        codes = [code for name, code in CODES.items() if name.startswith(prefix)]
        if codes:
            parts.append(f"## {prefix}xx: {title}\n")
            parts += [_entry(code) for code in codes]
    return "\n".join(parts)


def _index() -> str:
    rows = [(f"[{code.code}](#{code.code.lower()})", code.severity, code.title) for code in CODES.values()]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(["| code | severity | what |", "|---|---|---|", *lines, ""])


def _entry(code: Code) -> str:
    return "\n".join(
        [
            f'### <a id="{code.code.lower()}"></a>{code.code}: {code.title}\n',
            f"*{code.severity.capitalize()}.* {code.cause}\n",
            f"**For example:** {code.example}\n",
            f"**Remedy:** {code.remedy}\n",
        ]
    )
