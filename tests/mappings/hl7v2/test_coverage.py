"""Every field the guide maps is implemented, replaced or left out with a reason."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_field_of_the_guide_is_accounted_for():
    command = [sys.executable, "-m", "bench.hl7_coverage"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "'unaccounted': 0" in done.stdout
