"""AWS Lambda: a layer.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/python-layers.html (layout),
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (sizes); glibc: the images' profiles.
"""

from __future__ import annotations

from bundler.deploy import copies, limits, render
from bundler.deploy.platform import Plan, PlanRequest
from bundler.system.writing import Archive, File

SUMMARY = "AWS Lambda: layer.zip and the request that publishes it"
TAKES = frozenset[str]()
UNZIPPED = 262_144_000
"""250 MB, of the function and all its layers together."""
ZIPPED = 50_000_000
"""50 MB, in a request; through S3 the limit is that of the unzipped files."""
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}


def plan(request: PlanRequest) -> Plan:
    """Return the files to write; below `python/` libraries beside site-packages are found too."""
    runtime = f"python{request.minor}"
    machine = request.manifest.target.machine
    layer = {
        "LayerName": request.name,
        "Description": f"envbundle {request.manifest.digest[:12]}",
        "CompatibleRuntimes": [runtime],
        "CompatibleArchitectures": [ARCHITECTURES.get(machine, machine)],
    }
    publish = ["aws", "lambda", "publish-layer-version", "--cli-input-json", "file://layer.json"]
    return Plan(
        files=(File(path="layer.json", text=render.as_json(layer)),),
        archives=(
            Archive(
                path="layer.zip",
                members=tuple(copies.tree(request, "python")),
                direct_limit=ZIPPED,
                detour="copy it to a bucket; publish with --content S3Bucket=…,S3Key=… instead of --zip-file",
            ),
        ),
        commands=(render.shell([*publish, "--zip-file", "fileb://layer.zip"]),),
        findings=(
            *limits.size(request, request.manifest.files, limit=UNZIPPED, platform="AWS Lambda"),
            *limits.glibc(
                request, has=limits.glibc_of(f"aws-lambda-{runtime}"), platform=f"AWS Lambda's {runtime}"
            ),
        ),
        notes=("the limit of 250 MB is for the function and all its layers (five at most) together",),
    )
