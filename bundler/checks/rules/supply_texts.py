"""EB6xx: where the content comes from."""

from __future__ import annotations

from bundler.model import Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB601",
        severity="warning",
        title="a release that was taken back",
        cause="Its publisher has yanked it: it is broken, or unsafe. It is installed only because the "
        "requirements or the lock name exactly this version.",
        remedy="Choose the release after it.",
        example='urllib3 1.25 is yanked: "Broken release".',
    ),
    Code(
        code="EB602",
        severity="warning",
        title="built on this machine from source",
        cause="There is no wheel for the target. Native code comes from this machine's compiler, linked "
        "with this machine's glibc and libraries; another machine builds other bytes.",
        remedy="Pin a version that has a wheel for the target, or build its wheel once in an image like "
        "the target and give it with `--find-links`.",
        example="PyYAML 5.3.1 has no wheel for Linux, docopt 0.6.2 none at all (it is pure Python: "
        "information).",
    ),
    Code(
        code="EB603",
        severity="info",
        title="a requirement without a version",
        cause="The bundle of another day may hold another version. The lock inside of the bundle says "
        "which it was.",
        remedy="Pin it, or build from a lock: `envbundle lock`, then `envbundle create --lock pylock.toml`.",
        example="`requests` instead of `requests==2.28.2`.",
    ),
    Code(
        code="EB604",
        severity="info",
        title="it comes from a URL or a repository",
        cause="No index vouches for it, and the address may hold something else tomorrow. The lock has "
        "its hash, or its commit.",
        remedy="Publish it on an index of your own.",
        example="`alpha @ git+https://git.example/alpha@main`.",
    ),
    Code(
        code="EB605",
        severity="warning",
        title="several indexes could serve a name",
        cause="The best version of all indexes is taken. Whoever publishes a higher version of a "
        "private name on a public index gets it installed (dependency confusion).",
        remedy="Use one index that mirrors the others, or build from a lock with hashes.",
        example="`--extra-index-url` with the company's index beside the public one, and a package that "
        "only the former has.",
    ),
    Code(
        code="EB606",
        severity="error",
        title="a licence that is denied",
        cause="The metadata of the distribution names it, and the caller does not accept it. Where the "
        "metadata says nothing, that is information.",
        remedy="Choose another distribution, or take the word off the list.",
        example="`--deny-licence AGPL`, and PyMuPDF among the requirements.",
    ),
    Code(
        code="EB611",
        severity="error",
        title="no signature that fits",
        cause="`--allowed-signers` or `--key` asks for one, and none stands beside the bundle, or what "
        "stands there is damaged or of another manifest: somebody has changed the one or the other.",
        remedy="Fetch the bundle and its signatures again from whoever makes them; use nothing of it before.",
        example="manifest.json was edited after `envbundle sign`.",
    ),
    Code(
        code="EB612",
        severity="error",
        title="signed by somebody who is not allowed",
        cause="The key is unknown here, revoked, has expired, or is allowed for something else than bundles.",
        remedy="Ask who has signed it. If the key is right, put it into the file of allowed signers.",
        example='`valid-before="20260101"` in the file, and it is 2026-11-21.',
    ),
    Code(
        code="EB613",
        severity="error",
        title="signed as another bundle",
        cause="The signed statement says another name than `--name` asks for, or no name at all: one bundle "
        "stands where another belongs.",
        remedy="Bring the bundle that was asked for, or sign it with `--name`.",
        example="The bundle of `batch` at the place of `scoring`.",
    ),
    Code(
        code="EB614",
        severity="error",
        title="older than it may be",
        cause="The signed statement says a counter or a time before that of `--not-older-than`, or `load` "
        "found that the build is older than the current one: somebody has put an old bundle back, with what "
        "was wrong with it.",
        remedy="Bring a newer bundle. To go back on purpose, sign the old one again (for `verify`), or use "
        "`--allow-rollback` (for `load`).",
        example="Number 16 where 17 ran before.",
    ),
    Code(
        code="EB621",
        severity="error",
        title="a provenance that does not verify",
        cause="The index offers attestations for this very file, and they are damaged, of another file, or "
        "not of the publisher whom the index names: somebody has changed the file, the attestations or the "
        "page.",
        remedy="Use nothing of it before you know why. Where sigstore's own keys have changed since, install "
        "a newer `pypi-attestations`, or name the keys with `--trusted-root`.",
        example="The wheel on a mirror has another sha256 than the one that its publisher has signed.",
    ),
    Code(
        code="EB622",
        severity="error",
        title="published by somebody else than is pinned",
        cause="The attestations of the file are sound, and name another publisher than `--publisher` allows.",
        remedy="Ask the project. If it has moved, pin the new publisher.",
        example="`--publisher numpy=GitHub:numpy/numpy`, and the wheel comes from "
        "GitHub:numqy/numpy@release.yml.",
    ),
    Code(
        code="EB623",
        severity="error",
        title="published by somebody else than before",
        cause="The last lock, or the bundle that would be replaced, names another publisher of this project.",
        remedy="Look whether the project says so: it has moved or renamed its workflow, or somebody else "
        "publishes in its name. Accept it once with `--ignore EB623:NAME`; the new lock has the new "
        "publisher.",
        example="GitHub:trailofbits/rfc8785.py@release.yml before, GitHub:someone/rfc8785.py@release.yml "
        "now.",
    ),
    Code(
        code="EB624",
        severity="warning",
        title="its publisher is no longer known",
        cause="Attestations proved who had published the last file of this project; of this one the index "
        "offers none. It was uploaded in another way, or the index (a mirror) leaves them out.",
        remedy="Ask the index that the project itself publishes on, and look how the release was made.",
        example="1.4.1 was published by a workflow with attestations, 1.4.2 by hand with a stolen password.",
    ),
    Code(
        code="EB625",
        severity="error",
        title="nobody is known to have published it",
        cause="`--require-provenance` or `--publisher` demands it, and the index offers no attestations for "
        "this file. That does not say that there are none: many mirrors leave them out.",
        remedy="Use an index that hands on provenance (PEP 740), choose a release that was attested, or take "
        "the name off the list.",
        example='`--require-provenance "internal-*"`, and internal-tools 2.0 was uploaded by hand.',
    ),
    Code(
        code="EB626",
        severity="warning",
        title="a project that its index gives a status",
        cause="With `--provenance` the index is asked, and it says of the whole project (PEP 792) that it is "
        "quarantined (unsafe: an error), deprecated (obsolete), or archived (no release will follow: "
        "information).",
        remedy="Use another project; of one that is quarantined use nothing, in no version.",
        example="The maintainers have archived it, or malware was found in a release.",
    ),
)
