"""A wheelhouse: for platforms that take wheels, and for the dynamic installation of Azure ML's images.

Sources: https://docs.aws.amazon.com/mwaa/latest/userguide/best-practices-dependencies.html (MWAA),
how-to-prebuilt-docker-images-inference-python-extensibility of Azure ML's documentation (dynamic installation).
"""

from __future__ import annotations

from bundler import wheelhouse
from bundler.deploy import rules
from bundler.deploy.plan import File, Order, Plan

SUMMARY = "Wheels and requirements.lock, for what installs by pip without a network"


def plan(order: Order) -> Plan:
    """Say what to write: wheels, and the lock that finds them beside itself (or at `order.wheels_at`)."""
    target = order.manifest.target
    text = wheelhouse.lock_text(
        order.wheels,
        target=f"Python {target.python}, {target.machine}, glibc {target.glibc}",
        wheels_at=order.wheels_at,
    )
    return Plan(
        files=(
            File(path=wheelhouse.LOCK, text=text),
            *(File(path=wheel.filename, source=wheel.path, sha256=wheel.sha256) for wheel in order.wheels),
        ),
        commands=(f"pip install --require-hashes -r {wheelhouse.LOCK}",),
        notes=(
            f"in Azure ML's images, set {rules.REQUIREMENTS} to the path of {wheelhouse.LOCK}, relative to the "
            f"scoring script, and not {rules.MOUNT} as well: the mount wins",
        ),
    )
