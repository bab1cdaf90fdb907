"""`deploy --verify-with`: the image verifies who signed, with a verifier and keys of its own."""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bundler.bundle import manifest, signing
from bundler.deploy import kubernetes, trust
from bundler.errors import InputError

from tests.support.deploymaker import AML38, PLAIN, make_service
from tests.support.machine import need

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.deploymaker import Service

AMLENV = "/opt/miniconda/envs/amlenv"
HOOKS = {"docker": {"base": AML38}, "compose": {"base": AML38}, "kubernetes": {"base": AML38}}


def make_key(path: Path) -> Path:
    need("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Its bundle is signed; `signers` beside it allows the key."""
    service = make_service(tmp_path)
    key = make_key(tmp_path / "key")
    request = signing.SigningRequest(
        manifest=(service.bundle / manifest.NAME).read_bytes(),
        name="myenv",
        key=key,
        signed_on=datetime(2026, 11, 22, tzinfo=timezone.utc),
        counter=17,
        environ=os.environ,
    )
    signing.sign(request, service.bundle.with_name("myenv.signatures"))
    kind, text, _ = key.with_suffix(".pub").read_text().split()
    (tmp_path / "signers").write_text(f'release@example.com namespaces="envbundle" {kind} {text}\n')
    return service


def deploy(service: Service, platform: str, **fields: Any) -> Any:
    fields = {"verify_with": service.folder / "signers", **HOOKS[platform], **fields}
    return service.deploy(platform, **fields)


def command_of(service: Service, platform: str) -> list[str]:
    """The command that the platform runs before the service, in words."""
    if platform == "docker":
        (line,) = [one for one in service.text("Dockerfile").splitlines() if one.startswith("RUN ")]
        return list(yaml.safe_load(line[4:]))
    if platform == "compose":
        services = yaml.safe_load(service.text("compose.yaml"))["services"]
        return [*services["verify-bundle"]["entrypoint"], *services["verify-bundle"]["command"]]
    *_, deployment = yaml.safe_load_all(service.text("init-container.yaml"))
    copier, verifier = deployment["spec"]["template"]["spec"]["initContainers"]
    assert copier["name"] == "copy-bundle"
    return list(verifier["command"])


def folder_of(service: Service, platform: str, tmp_path: Path) -> Path:
    """What the platform mounts or copies to `trust.ROOT`."""
    if platform != "kubernetes":
        return service.output / trust.FOLDER
    keys, deployment = yaml.safe_load_all(service.text("init-container.yaml"))
    _, volume = deployment["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == keys["metadata"]["name"]
    for item in volume["configMap"]["items"]:
        path = tmp_path / "mounted" / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(keys["data"][item["key"]])
    return tmp_path / "mounted"


@pytest.mark.parametrize("platform", HOOKS)
def test_the_image_verifies_before_the_service_starts(
    service: Service, platform: str, tmp_path: Path, python38: Path
) -> None:
    assert deploy(service, platform).ok
    words = command_of(service, platform)
    assert words[:2] == [f"{AMLENV}/bin/python", "-I"]
    assert words[-1] == "/opt/envbundle/myenv"
    folder = folder_of(service, platform, tmp_path)
    here = [word.replace(trust.ROOT, str(folder)) for word in words[1:-1]]
    argv = [str(python38), *here, "--no-imports", str(service.bundle)]
    assert subprocess.run(argv, check=False).returncode == 0
    # Another bundle, however sound, is not the one that was signed.
    other = make_service(tmp_path / "other", files={"alpha/new.py": ""}).bundle
    done = subprocess.run([*argv[:-1], str(other)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "EB611" in done.stdout + done.stderr


def test_the_script_that_mounts_verifies_first(service: Service) -> None:
    deploy(service, "docker")
    first, last = [line for line in service.text("run.sh").splitlines() if "docker run" in line]
    assert "--entrypoint /opt/miniconda/envs/amlenv/bin/python" in first
    assert f'"$PWD"/trust:{trust.ROOT}:ro' in first
    assert last.startswith("exec docker run")


def test_compose_waits_for_it(service: Service) -> None:
    deploy(service, "compose")
    services = yaml.safe_load(service.text("compose.yaml"))["services"]
    (name,) = services.keys() - {"verify-bundle"}
    assert services[name]["depends_on"] == {"verify-bundle": {"condition": "service_completed_successfully"}}
    assert services["verify-bundle"]["volumes"][1]["source"] == "./trust"


@pytest.mark.parametrize("name", ["image-volume", "claim", "init-container"])
def test_every_way_of_kubernetes_verifies(service: Service, name: str) -> None:
    deploy(service, "kubernetes")
    *_, keys, deployment = yaml.safe_load_all(service.text(f"{name}.yaml"))
    assert keys["kind"] == "ConfigMap"
    spec = deployment["spec"]["template"]["spec"]
    assert spec["initContainers"][-1]["name"] == "verify-bundle"
    mounts = {one["name"] for one in spec["initContainers"][-1]["volumeMounts"]}
    assert mounts == {one["name"] for one in spec["volumes"]}


def test_nobody_asks_for_a_signature(service: Service) -> None:
    deploy(service, "kubernetes", verify_with=None)
    (deployment,) = yaml.safe_load_all(service.text("image-volume.yaml"))
    assert "initContainers" not in deployment["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("unsigned", "EB611"),
        ("another name", "EB613"),
        ("another key", "EB612"),
        ("no statement", "EB613"),
    ],
)
def test_a_signature_that_does_not_hold_stops_it(
    service: Service, envbundle: Command, change: str, code: str, tmp_path: Path
) -> None:
    folder = service.bundle.with_name("myenv.signatures")
    words: list[str | Path] = ["--verify-with", service.folder / "signers"]
    if change == "another name":
        words += ["--signed-as", "theirs"]
    elif change == "another key":
        theirs = make_key(tmp_path / "theirs").with_suffix(".pub")
        theirs.write_text(f"release@example.com {theirs.read_text()}")
        words[1] = theirs
    else:
        for path in folder.iterdir():
            if change == "unsigned" or path.name != "manifest.json.sig":
                path.unlink()
    out = tmp_path / "refused"
    done = envbundle("deploy", service.bundle, "--to", "docker", "--base", AML38, "-o", out, *words)
    assert done.code == 1, done.stderr
    assert code in done.stderr + done.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"platform": "azureml-v2", "base": None}, "--verify-with means nothing"),
        ({"platform": "docker", "verify_with": None, "signed_as": "x"}, "--signed-as says nothing"),
        ({"platform": "compose", "verify_with": None, "python": "python3"}, "--image-python says nothing"),
        ({"platform": "kubernetes", "verify_with": "score.py"}, "--verify-with .*score.py"),
        ({"platform": "docker", "verify_with": "gone"}, "--verify-with .*gone: it cannot be read"),
    ],
)
def test_refusals(service: Service, fields: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"verify_with": service.folder / "signers", "base": PLAIN, **fields}
    if isinstance(given["verify_with"], str):
        given["verify_with"] = service.code / given["verify_with"]
    with pytest.raises(InputError, match=message):
        service.deploy(**given)


def test_a_config_map_has_a_limit(service: Service) -> None:
    signers = service.folder / "signers"
    signers.write_text(signers.read_text() + "# many\n" * (kubernetes.MIB // 7))
    with pytest.raises(InputError, match="1 MiB of a ConfigMap"):
        deploy(service, "kubernetes")
