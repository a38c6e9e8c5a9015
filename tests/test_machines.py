"""Docker and Azure, as far as a machine without either can tell: linted, validated, and their steps run."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT, make_folder, run_script
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


def test_dockerfiles_are_clean():
    done = subprocess.run(
        [tool("hadolint"), "docker/Dockerfile", "azure/Dockerfile"], cwd=ROOT, capture_output=True, text=True
    )
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


def test_azures_environment_installs_the_exact_versions():
    build = read("azure/environment.yaml")["build"]
    text = (ROOT / "azure" / build["path"] / build["dockerfile_path"]).read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert {"requirements-gpu.txt", "requirements.txt", "constraints.txt"} <= set(copied)
    assert all((ROOT / name).is_file() for name in copied)
    assert re.findall(r"^RUN bash docker/image.sh (.+)$", text, re.MULTILINE) == [
        "system",
        "packages requirements-gpu.txt",
    ]
    assert read("azure/job.yaml")["environment"] == f"azureml:{read('azure/environment.yaml')['name']}@latest"


def test_azures_job_names_what_there_is():
    """Placeholders are not validated by azure-ai-ml: a misspelt one would be found on the cluster."""
    job = read("azure/job.yaml")
    used = set(re.findall(r"\$\{\{(\w+)\.(\w+)\}\}", job["command"]))
    assert used == {(kind, name) for kind in ("inputs", "outputs") for name in job[kind]}
    assert (ROOT / re.match(r"bash (\S+) ", job["command"])[1]).is_file()
    script = (ROOT / "azure/job.sh").read_text(encoding="utf-8")
    known = run_script("train.py", "--help-all", cwd=ROOT).stdout
    flags = re.findall(r" (--[\w-]+)", job["command"] + "".join(re.findall(r"python train.py.*", script)))
    assert set(flags) == {"--steps", "--resume", "--data", "--runs-dir", "--name"} and all(
        flag in known for flag in flags
    )


def test_azures_files_are_valid():
    azure = pytest.importorskip("azure.ai.ml", reason="needs azure-ai-ml: pip install azure-ai-ml")
    job = azure.load_job(ROOT / "azure/job.yaml")
    assert job._validate().passed and "bash azure/job.sh ${{inputs.data}}" in job.command
    assert azure.load_environment(ROOT / "azure/environment.yaml").build


def job(folder: Path, out: str) -> subprocess.Popen:
    """Azure's job on a small data set, in a process group of its own; "python" is the tests' own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "DATA_PLACE": str(folder / f"{out}-data")}
    flags = ["--steps", "8", "--steps-per-epoch", "2", "--batch-size", "2", "--deterministic"]
    command = ["bash", ROOT / "azure/job.sh", folder / "d", folder / out, *flags]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, start_new_session=True)


@pytest.mark.slow
def test_azures_job_goes_on_where_one_before_it_was_killed(tmp_path):
    make_folder(tmp_path / "d", 20, size=32)
    assert job(tmp_path, "whole").wait() == 0
    killed = job(tmp_path, "cut")
    history = tmp_path / "cut/job/history.csv"
    while not history.is_file():
        assert killed.poll() is None
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    rows = len(history.read_text().splitlines()) - 1
    assert 1 <= rows < 4 and (tmp_path / "cut/job/resume").is_dir()
    shutil.rmtree(tmp_path / "cut-data")  # the second job has another node
    said, _ = (second := job(tmp_path, "cut")).communicate()
    assert second.returncode == 0 and "going on with" in said
    assert (tmp_path / "cut/job/evaluation/test/report.html").is_file()
    with (
        zipfile.ZipFile(tmp_path / "cut/job/model.keras") as cut,
        zipfile.ZipFile(tmp_path / "whole/job/model.keras") as whole,
    ):
        assert cut.read("model.weights.h5") == whole.read("model.weights.h5")
    assert job(tmp_path, "cut").wait() == 0, "what is done is left as it is"


@pytest.fixture
def copy(tmp_path):
    """The project as a fresh checkout would be."""
    shutil.copytree(ROOT, tmp_path / "project", ignore=shutil.ignore_patterns(*NOT_THE_PROJECT))
    return tmp_path / "project"


@pytest.mark.slow
def test_the_images_steps_run(copy):
    """Packages and check, in an environment of its own; the notebook's server is there."""
    environment = os.environ | {"VIRTUAL_ENV": str(copy / "venv"), "HOME": str(copy / "home")}
    for step in (["packages", "requirements.txt"], ["check"], ["open"]):
        done = subprocess.run(
            ["bash", "docker/image.sh", *step], cwd=copy, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    started = [str(copy / "venv/bin/jupyter"), "lab", "--version"]
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
