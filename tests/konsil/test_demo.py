import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from konsil.demo.orthanc import installed


@pytest.mark.timeout(240)
def test_the_demo_plays_a_whole_case_and_every_assertion_holds():
    # Not below pytest's folder: run as root, that is closed to the user PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="konsil-demo-") as folder:
        Path(folder).chmod(0o711)
        command = [sys.executable, "-m", "konsil.cli", "demo", "--exit", "--data-dir", f"{folder}/demo"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=220)
        log = Path(folder, "demo", "konsil.log")
        server_log = log.read_text()[-4000:] if log.exists() else "no server log"
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:] + server_log
    assert "assertions held" in done.stdout
    if installed() is None:
        assert "2 series, 122 instances" in done.stdout
    for name in ("alvarez", "00483921"):
        assert name not in server_log.lower(), "the log names the patient"


@pytest.mark.timeout(120)
def test_a_demo_that_is_told_to_end_leaves_no_process_behind():
    with tempfile.TemporaryDirectory(prefix="konsil-demo-") as folder:
        Path(folder).chmod(0o711)
        command = [sys.executable, "-m", "konsil.cli", "demo", "--exit", "--data-dir", f"{folder}/demo"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
            for line in demo.stdout:
                if "konsil serve answers" in line:
                    break
            demo.terminate()
            demo.communicate(timeout=60)
        assert demo.returncode == 1
        left = [_command(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert not [command for command in left if folder.encode() in command]


def _command(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it ended while we looked
