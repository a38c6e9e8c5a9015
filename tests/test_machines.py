"""Docker and Azure, as far as a machine without either can tell: linted, validated, and their steps run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run_script
from test_documents import NOT_THE_PROJECT

yaml = pytest.importorskip("yaml")
SCRIPTS = sorted([*ROOT.glob("docker/*.sh"), *ROOT.glob("azure/*.sh")])


def tool(name: str) -> str:
    """A linter beside Python, or on the PATH."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not path:
        pytest.skip(f"needs {name}, which requirements-dev.txt has for Linux on x86-64")
    return path


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_shell_files_are_clean():
    done = subprocess.run([tool("shellcheck"), "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and len(SCRIPTS) >= 4, done.stdout


def test_dockerfile_is_clean():
    done = subprocess.run([tool("hadolint"), "docker/Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_takes_files_that_are_there():
    text = (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert copied and all((ROOT / name).exists() for name in copied)
    steps = re.findall(r"bash docker/image.sh (\w+)", text)
    known = re.findall(r"^  (\w+)\)", (ROOT / "docker/image.sh").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(steps) == set(known) == {"system", "packages", "check", "open"}


def test_services_call_scripts_that_take_their_flags():
    services, targets = read("compose.yaml")["services"], re.findall(r"AS (\w+)$", dockerfile(), re.MULTILINE)
    assert set(services) == {"train", "evaluate", "tensorboard", "notebook"}
    for service in services.values():
        assert service["build"]["target"] in targets and service["user"] == "${USER_ID:-1000}:${GROUP_ID:-1000}"
        assert {volume.split(":")[1] for volume in service["volumes"]} == {"/app/data", "/app/runs", "/app/out"}
    for name in ("train", "evaluate"):
        *_, python, script = services[name]["entrypoint"]
        assert python == "python" and run_script(script, "--help", cwd=ROOT).returncode == 0
    assert (ROOT / services["notebook"]["command"][-1]).is_file()
    with_gpu = read("docker/gpu.yaml")["services"]
    assert set(with_gpu) == set(services)
    assert all(one["build"]["target"] == "gpu" and one["deploy"] for one in with_gpu.values())


def dockerfile() -> str:
    return (ROOT / "docker/Dockerfile").read_text(encoding="utf-8")


def test_azures_environment_is_the_projects():
    (packages,) = (one["pip"] for one in read("azure/conda.yaml")["dependencies"] if isinstance(one, dict))
    gpu, cpu = ((ROOT / f"requirements{part}.txt").read_text().split() for part in ("-gpu", ""))
    wanted = {line for line in gpu + cpu if "=" in line and not line.startswith("tensorflow>")}
    assert set(packages) == wanted


def test_azures_job_names_what_there_is():
    """Placeholders are not validated by azure-ai-ml: a misspelt one would be found on the cluster."""
    job = read("azure/job.yaml")
    used = set(re.findall(r"\$\{\{(\w+)\.(\w+)\}\}", job["command"]))
    assert used == {(kind, name) for kind in ("inputs", "outputs") for name in job[kind]}
    assert (ROOT / "azure" / job["environment"]["conda_file"]).is_file()
    for script, flags in re.findall(r"python (\w+\.py)((?: --[\w-]+ \S+)*)", job["command"]):
        known = run_script(script, "--help", cwd=ROOT).stdout
        assert all(flag in known for flag in re.findall(r"--[\w-]+", flags))


def test_azures_job_is_valid():
    azure = pytest.importorskip("azure.ai.ml", reason="needs azure-ai-ml: pip install azure-ai-ml")
    job = azure.load_job(ROOT / "azure/job.yaml")
    assert job._validate().passed and "python train.py --data ${{inputs.data}}" in job.command


@pytest.fixture
def copy(tmp_path):
    """The project as a fresh checkout would be."""
    shutil.copytree(ROOT, tmp_path / "project", ignore=shutil.ignore_patterns(*NOT_THE_PROJECT))
    return tmp_path / "project"


@pytest.mark.slow
def test_the_images_steps_run(copy):
    """Packages and check, in an environment of its own; the entry point starts what it is given."""
    environment = os.environ | {"VIRTUAL_ENV": str(copy / "venv"), "HOME": str(copy / "home")}
    for step in (["packages", "requirements.txt"], ["check"], ["open"]):
        done = subprocess.run(
            ["bash", "docker/image.sh", *step], cwd=copy, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    started = ["bash", "docker/entrypoint.sh", str(copy / "venv/bin/jupyter"), "lab", "--version"]
    done = subprocess.run(started, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("4."), done.stderr
    wrong = subprocess.run(
        ["bash", "docker/image.sh", "biuld"], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert wrong.returncode == 1 and "system, packages FILE, check or open is wanted" in wrong.stderr


@pytest.mark.slow
def test_the_vms_set_up_may_be_called_twice(copy):
    """Without a GPU; with the Python that it finds."""
    for _ in range(2):
        done = subprocess.run(["bash", "azure/vm-setup.sh"], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "no nvidia-smi" in done.stdout and "0 GPUs" in done.stdout and "ready: source" in done.stdout
    activate = (copy / ".venv/bin/activate").read_text()
    assert activate.count("cuda-paths.sh") == 1
