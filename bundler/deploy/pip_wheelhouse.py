"""A wheelhouse: for platforms that take wheels, and for the dynamic installation of Azure ML's images.

Sources: https://docs.aws.amazon.com/mwaa/latest/userguide/best-practices-dependencies.html (MWAA),
how-to-prebuilt-docker-images-inference-python-extensibility of Azure ML's documentation (at the start).
"""

from __future__ import annotations

from bundler.bundle import wheelhouse
from bundler.deploy import start_script
from bundler.deploy.bases import MOUNT
from bundler.deploy.platform import Plan, PlanRequest

SUMMARY = "Wheels and requirements.lock, for what installs by pip without a network"
TAKES = frozenset({"wheels_at"})


def plan(request: PlanRequest) -> Plan:
    """Return the files to write: wheels, and a lock that finds them beside it or at `request.wheels_at`."""
    target = request.manifest.target
    text = wheelhouse.lock_text(
        request.wheels,
        target=f"Python {target.python}, {target.machine}, glibc {target.glibc}",
        wheels_at=request.wheels_at,
    )
    return Plan(
        files=wheelhouse.as_files(request.wheels, text),
        commands=(f"pip install --require-hashes -r {wheelhouse.LOCK}",),
        notes=(
            f"{start_script.REQUIREMENTS} names {wheelhouse.LOCK}, relative to the scoring script",
            f"it has no effect where {MOUNT} is set as well: the mount wins",
        ),
    )
