"""A Kubernetes Indexed Job: as many pods as shards, each of which does its own.

https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode; an exit code that another try
would not change (1: not proved, 2: the file) ends its index at once, 3 (network, disk) has another try.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundler.deploy import bases, render
from bundler.errors import InputError
from bundler.rebuild.plan import require_shard

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMENT = "Written by envbundle matrix; yours to change."
CONTAINER = "envbundle"
CACHE = "/cache"
SCRATCH = "/tmp"  # noqa: S108 - in the container, where it is a volume of the pod's own
USER = 10001
"""Nobody's id on a node; the claim's group, so that all pods can write."""
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
class Surroundings:
    """What the cluster has for the job."""

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
    """Whose members become variables: for `${NAME}` in the file, and for what `publish` logs in with."""
    cpu: str = "1"
    memory: str = "2Gi"


def job(around: Surroundings, *, shards: int, names: Sequence[str] = ()) -> str:
    """Return the YAML.

    :param names: jobs, where not all of the file's are wanted.
    :raises InputError: a name, path or quantity that Kubernetes would not take, or no such count of shards.
    """
    require_shard(1, shards)
    _check(around)
    labels = {"app.kubernetes.io/name": around.name, "app.kubernetes.io/managed-by": "envbundle"}
    namespace = {"namespace": around.namespace} if around.namespace else {}
    document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": around.name, **namespace, "labels": labels},
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
            "template": {"metadata": {"labels": labels}, "spec": _pod(around, shards, names)},
        },
    }
    return render.as_yaml(document, comment=COMMENT)


def _pod(around: Surroundings, shards: int, names: Sequence[str]) -> dict[str, Any]:
    cache: dict[str, Any] = {"emptyDir": {}}
    if around.cache_claim:
        cache = {"persistentVolumeClaim": {"claimName": around.cache_claim}}
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
        "containers": [_container(around, shards, names)],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": around.claim}},
            {"name": "cache", **cache},
            {"name": "scratch", "emptyDir": {}},
        ],
    }


def _container(around: Surroundings, shards: int, names: Sequence[str]) -> dict[str, Any]:
    words = [f"{around.mount}/{around.file}", *(word for name in names for word in ("--only", name))]
    secrets = [{"secretRef": {"name": name}} for name in around.secrets]
    return {
        "name": CONTAINER,
        "image": around.container_image,
        # The kubelet would read `$(` itself; `$$(` is what leaves it to the shell.
        "command": ["/bin/sh", "-c", render.for_kubernetes(SCRIPT.format(count=shards))],
        "args": [render.for_kubernetes(word) for word in words],
        "env": [
            {"name": "ENVBUNDLE_CACHE_DIR", "value": CACHE},
            {"name": "HOME", "value": SCRATCH},
        ],
        **({"envFrom": secrets} if secrets else {}),
        "resources": {"requests": {"cpu": around.cpu, "memory": around.memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": around.mount},
            {"name": "cache", "mountPath": CACHE},
            {"name": "scratch", "mountPath": SCRATCH},
        ],
    }


def _check(around: Surroundings) -> None:
    bases.check_reference(around.container_image)
    for what, name, most in (
        ("--name", around.name, _LONGEST_NAME),
        ("--namespace", around.namespace, _LONGEST_LABEL),
    ):
        if name is not None and not (_LABEL.fullmatch(name) and len(name) <= most):
            raise InputError(
                f"{what} {name[:80]!r}: Kubernetes takes no such name",
                hint=f"lower-case letters, digits and -, at most {most}",
            )
    for what, name in (
        ("--claim", around.claim),
        ("--cache-claim", around.cache_claim),
        *(("--secret", secret) for secret in around.secrets),
    ):
        if name is not None and not (_SUBDOMAIN.fullmatch(name) and len(name) <= _LONGEST_SUBDOMAIN):
            raise InputError(
                f"{what} {name[:80]!r}: Kubernetes takes no such name",
                hint="lower-case letters, digits, - and .",
            )
    for what, path in (("--mount", around.mount), ("--file", f"/{around.file}")):
        if not _PATH.fullmatch(path):
            raise InputError(
                f"{what} {path.removeprefix('/')[:80]!r}: is no plain path",
                hint="an absolute one for --mount, one below it for --file; letters, digits and . _ + -",
            )
    if around.mount in (CACHE, SCRATCH) or f"{around.mount}/".startswith((f"{CACHE}/", f"{SCRATCH}/")):
        raise InputError(f"--mount {around.mount}: another volume is there", hint="take /srv/envbundle")
    for what, quantity in (("--cpu", around.cpu), ("--memory", around.memory)):
        if not _QUANTITY.fullmatch(quantity):
            raise InputError(f"{what} {quantity[:80]!r}: is no quantity", hint="such as --cpu 2 --memory 4Gi")
