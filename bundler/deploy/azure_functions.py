"""Azure Functions: the packages in the app's folder, for a deployment that builds nothing.

Sources: https://learn.microsoft.com/azure/azure-functions/python-build-options (folder, no remote build),
https://github.com/Azure/azure-functions-python-worker (order of the paths); glibc: the images' profiles.
"""

from __future__ import annotations

from bundler.deploy import copies, limits, render
from bundler.deploy.platform import Plan, PlanRequest
from bundler.system.writing import File

SUMMARY = "Azure Functions: .python_packages for the app's folder, appsettings.json"
TAKES = frozenset({"variables"})
PLACE = ".python_packages/lib/site-packages"


def plan(request: PlanRequest) -> Plan:
    """Return the files to write; the output is the app's folder, the one with host.json."""
    host = f"azure-functions-python{request.minor}"
    settings = {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHON_ISOLATE_WORKER_DEPENDENCIES": "1",
        **request.variables,
    }
    rows = [{"name": name, "value": value, "slotSetting": False} for name, value in settings.items()]
    return Plan(
        files=(
            File(path="appsettings.json", text=render.as_json(rows)),
            *copies.packages(request, PLACE),
        ),
        folders=(".python_packages",),
        variables=settings,
        commands=(
            "az functionapp config appsettings set --settings @appsettings.json -n APP -g GROUP",
            "func azure functionapp publish APP --no-build",
        ),
        findings=(
            *limits.outside(request, platform="Azure Functions"),
            *limits.glibc(request, has=limits.glibc_of(host), platform=f"the host of Python {request.minor}"),
        ),
        notes=(
            "PYTHON_ISOLATE_WORKER_DEPENDENCIES=1 puts the bundle before the worker's own packages",
            "a remote build would install anew over a network: publish with --no-build",
        ),
    )
