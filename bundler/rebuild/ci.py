"""The plan as CI servers and Kubernetes take it: one entry a job, or one a shard.

An entry's `arguments` are what `envbundle rebuild FILE` takes to do it. Names hold letters, digits and
`. _ -` only, so nothing in an entry means anything to a shell.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bundler.deploy import bases, render
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.rebuild.config import Config
from bundler.rebuild.plan import Cell, require_shard, shard_of

GITHUB_MOST = 256
"""Jobs of one workflow run that a matrix makes (https://docs.github.com/en/actions/reference/limits)."""
AZURE_LONGEST = 100
"""https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/jobs-job-strategy"""
_HASH_DIGITS = 8
COMMENT = "Written by envbundle matrix; yours to change."
CONTAINER = "envbundle"
CACHE = "/cache"
SCRATCH = "/tmp"  # noqa: S108 - in the container, where it is a volume of the pod's own
USER = 10001
"""An ID that no user of a node has; the claim belongs to this group, so that all pods can write."""
KEEP_SECONDS = 7 * 24 * 3600
SCRIPT = 'exec envbundle rebuild "$0" --shard "$((JOB_COMPLETION_INDEX+1))/{count}" "$@"'
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")
_QUANTITY = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,3})?(?:m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_PATH = re.compile(r"(?:/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+")
_LONGEST_LABEL = 63
_LONGEST_NAME = 59
"""Of the Job: `-999` behind it is a pod's host name, which is a label."""
_LONGEST_SUBDOMAIN = 253


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a Kubernetes cluster has for the job."""

    container_image: str
    """With envbundle and the interpreters in it."""
    name: str = "envbundle-rebuild"
    namespace: str | None = None
    claim: str = "envbundle"
    """A claim that every pod mounts (ReadWriteMany): the file, what it names, and the output."""
    mount: str = "/srv/envbundle"
    """Where it is mounted."""
    file: str = "envbundle.toml"
    """Relative to the mount."""
    cache_claim: str | None = None
    """Keeps the wheels between runs; `None`: each pod has a cache of its own, gone with it."""
    secrets: tuple[str, ...] = ()
    """Their members become variables: for `${NAME}` in the file, and for the credentials of `publish`."""
    cpu: str = "1"
    memory: str = "2Gi"


def entries(cells: Sequence[Cell], *, shards: int | None, named: bool = False) -> list[dict[str, str]]:
    """Return an entry for each cell, or for each shard that has one.

    :param named: the cells were chosen by `--only`: each shard names its own, or it would do others too.
    :returns: members `name`, `bundle`, `python`, `image`, `shard` and `arguments`, all of them text; a
        shard's bundles, Pythons and images are joined by spaces, what does not apply is empty.
    :raises InputError: no such number of shards.
    """
    if shards is None:
        return [_entry(cell.name, [cell], arguments=f"--only {cell.name}") for cell in cells]
    require_shard(1, shards)
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(shard_of(cell.name, shards), []).append(cell)
    return [
        _entry(
            f"shard-{number}-of-{shards}",
            found[number],
            shard=f"{number}/{shards}",
            arguments=" ".join(
                [f"--shard {number}/{shards}", *(f"--only {cell.name}" for cell in found[number] if named)]
            ),
        )
        for number in sorted(found)
    ]


def github(rows: Sequence[dict[str, str]]) -> str:
    """Write one line for `fromJSON` in a workflow's `strategy.matrix`.

    :raises InputError: more jobs than a workflow run takes.
    """
    if len(rows) > GITHUB_MOST:
        raise InputError(
            f"GitHub Actions makes at most {GITHUB_MOST} jobs of a matrix, and this one has {len(rows)}",
            hint="add --shards 20: an entry is then a part of the bundles, not one of them",
        )
    return json.dumps({"include": list(rows)}, separators=(",", ":"))


def azure(rows: Sequence[dict[str, str]]) -> str:
    """Write one line for a job's `strategy.matrix` in Azure Pipelines, as a run-time expression takes it."""
    return json.dumps({azure_name(row["name"]): row for row in rows}, separators=(",", ":"))


def as_json(cells: Sequence[Cell], config: Config, *, shards: int | None) -> dict[str, Any]:
    """Return the plan as one object."""
    return {
        "ok": True,
        "file": str(config.path),
        "output": str(config.output),
        "publish": config.publish,
        "jobs": [
            {
                "name": cell.name,
                "bundle": cell.bundle.name,
                "python": cell.python,
                "image": cell.image.name if cell.image else None,
                "folder": str(cell.folder),
                "formats": ["dir", *cell.bundle.formats],
                "keep": cell.bundle.keep,
                "note": cell.bundle.note,
                "place": cell.bundle.place("bundle"),
                "shard": f"{shard_of(cell.name, shards)}/{shards}" if shards else None,
            }
            for cell in cells
        ],
    }


def azure_name(name: str) -> str:
    """Return a job's name in letters, digits and `_`, unique where the job's is.

    It depends on the job's name alone: another bundle in the file changes none of the others.
    """
    plain = name.replace("-", "_")
    kept = re.sub(r"[^A-Za-z0-9_]", "_", plain)
    kept = kept if kept[0].isalpha() else f"b_{kept}"
    if kept == plain and "_" not in name and len(kept) <= AZURE_LONGEST:
        return kept
    digits = hashlib.sha256(name.encode("ascii")).hexdigest()[:_HASH_DIGITS]
    return f"{kept[: AZURE_LONGEST - _HASH_DIGITS - 1]}_{digits}"


def _joined(words: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(words))


def _entry(name: str, cells: Sequence[Cell], *, arguments: str, shard: str = "") -> dict[str, str]:
    return {
        "name": name,
        "bundle": _joined(cell.bundle.name for cell in cells),
        "python": _joined(cell.python for cell in cells),
        "image": _joined(cell.image.name for cell in cells if cell.image),
        "shard": shard,
        "arguments": arguments,
    }


def kubernetes(cluster: Cluster, *, shards: int, names: Sequence[str] = ()) -> str:
    """Return the YAML of an Indexed Job: as many pods as shards, each of which does its own.

    https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode; an exit code that a
    second try would not change (1: not proved, 2: the file, the requirements) ends its index at once, 3 is
    tried again.

    :param names: of jobs; empty: all jobs of the file.
    :raises InputError: a name, path or quantity that Kubernetes would not take, or no such count of shards.
    """
    require_shard(1, shards)
    _check(cluster)
    labels = {"app.kubernetes.io/name": cluster.name, "app.kubernetes.io/managed-by": "envbundle"}
    namespace = {"namespace": cluster.namespace} if cluster.namespace else {}
    document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": cluster.name, **namespace, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": shards,
            "parallelism": shards,
            "backoffLimitPerIndex": 1,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailIndex",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [1, 2]},
                    },
                ]
            },
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": _pod(cluster, shards, names)},
        },
    }
    return render.as_yaml(document, comment=COMMENT)


def _pod(cluster: Cluster, shards: int, names: Sequence[str]) -> dict[str, Any]:
    cache: dict[str, Any] = {"emptyDir": {}}
    if cluster.cache_claim:
        cache = {"persistentVolumeClaim": {"claimName": cluster.cache_claim}}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(cluster, shards, names)],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": cluster.claim}},
            {"name": "cache", **cache},
            {"name": "scratch", "emptyDir": {}},
        ],
    }


def _container(cluster: Cluster, shards: int, names: Sequence[str]) -> dict[str, Any]:
    words = [f"{cluster.mount}/{cluster.file}", *(word for name in names for word in ("--only", name))]
    secrets = [{"secretRef": {"name": name}} for name in cluster.secrets]
    return {
        "name": CONTAINER,
        "image": cluster.container_image,
        # The kubelet would read `$(` itself; `$$(` is what leaves it to the shell.
        "command": ["/bin/sh", "-c", render.for_kubernetes(SCRIPT.format(count=shards))],
        "args": [render.for_kubernetes(word) for word in words],
        "env": [
            {"name": "ENVBUNDLE_CACHE_DIR", "value": CACHE},
            {"name": "HOME", "value": SCRATCH},
        ],
        **({"envFrom": secrets} if secrets else {}),
        "resources": {"requests": {"cpu": cluster.cpu, "memory": cluster.memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": cluster.mount},
            {"name": "cache", "mountPath": CACHE},
            {"name": "scratch", "mountPath": SCRATCH},
        ],
    }


def _check(cluster: Cluster) -> None:
    bases.check_reference(cluster.container_image)
    for what, name, most in (
        ("--name", cluster.name, _LONGEST_NAME),
        ("--namespace", cluster.namespace, _LONGEST_LABEL),
    ):
        if name is not None and not (_LABEL.fullmatch(name) and len(name) <= most):
            raise InputError(
                f"{what} {name[:80]!r}: Kubernetes takes no such name",
                hint=f"lower-case letters, digits and -, at most {most}",
            )
    for what, name in (
        ("--claim", cluster.claim),
        ("--cache-claim", cluster.cache_claim),
        *(("--secret", secret) for secret in cluster.secrets),
    ):
        if name is not None and not (_SUBDOMAIN.fullmatch(name) and len(name) <= _LONGEST_SUBDOMAIN):
            raise InputError(
                f"{what} {name[:80]!r}: Kubernetes takes no such name",
                hint="lower-case letters, digits, - and .",
            )
    for what, path in (("--mount", cluster.mount), ("--file", f"/{cluster.file}")):
        if not _PATH.fullmatch(path):
            raise InputError(
                f"{what} {path.removeprefix('/')[:80]!r}: is no plain path",
                hint="an absolute one for --mount, one below it for --file; letters, digits and . _ + -",
            )
    if cluster.mount in (CACHE, SCRATCH) or f"{cluster.mount}/".startswith((f"{CACHE}/", f"{SCRATCH}/")):
        raise InputError(f"--mount {cluster.mount}: another volume is there", hint="take /srv/envbundle")
    for what, quantity in (("--cpu", cluster.cpu), ("--memory", cluster.memory)):
        if not _QUANTITY.fullmatch(quantity):
            raise InputError(f"{what} {quantity[:80]!r}: is no quantity", hint="such as --cpu 2 --memory 4Gi")
