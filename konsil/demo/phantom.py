"""A synthetic chest CT study as DICOM files: the same arguments give the same bytes.

CT Image Storage as in PS3.3 A.3: https://dicom.nema.org/medical/dicom/current/output/chtml/part03/sect_A.3.html
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from konsil.demo.anatomy import FIELD_OF_VIEW_MM, HEIGHT_MM
from konsil.demo.body import Body, heights

RESCALE_INTERCEPT = -1024
_stored_range = (0, 4095)


@dataclass(frozen=True, slots=True)
class Study:
    """Who and what a study is about. ``name`` is a DICOM person name (``Alvarez^Maria``); ``salt`` makes other UIDs."""

    patient_id: str
    name: str
    birth_date: date
    accession: str
    sex: str = "F"
    issuer: str = "LAKESIDE"
    started: datetime = field(default=datetime(2026, 3, 2, 9, 14, 7))  # noqa: DTZ001 - DICOM DA/TM carry no zone
    slices: int = 120
    size: int = 512
    seed: int = 11
    salt: str = ""

    def uid(self, *parts: object) -> str:
        """Return a UID under 2.25 derived from the study and ``parts`` (PS3.5 B.2)."""
        text = "|".join(map(str, (self.patient_id, self.issuer, self.accession, self.salt, *parts)))
        return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big') >> 1}"

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID."""
        return self.uid("study")


def instances(study: Study) -> Iterator[bytes]:
    """Yield every instance as a DICOM file: the two scouts first, then the axial series from the feet up."""
    body = Body.grow(study.size, study.seed)
    thickness, levels = heights(study.slices)
    total = np.zeros((2, study.slices, study.size), np.float32)
    axial = []
    for number, z in enumerate(levels):
        hu = body.slice(study.size, z, thickness, number)
        density = np.maximum(hu + 1000, 0)
        total[0, number], total[1, number] = density.mean(axis=0), density.mean(axis=1)
        axial.append(_axial(study, number, z, thickness, hu))
    for view, projection in enumerate(total):
        yield _file(_scout(study, view, projection))
    for dataset in axial:
        yield _file(dataset)


def _axial(study: Study, number: int, z: float, thickness: float, hu: NDArray[np.float32]) -> Dataset:
    spacing = FIELD_OF_VIEW_MM / study.size
    corner = -(study.size - 1) / 2 * spacing
    dataset = _image(study, "axial", number, _stored(hu))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesNumber = 2
    dataset.SeriesDescription = "CHEST W IV CONTRAST 3.0 B40"
    dataset.AcquisitionNumber = 2
    dataset.ImagePositionPatient = [_ds(corner), _ds(corner), _ds(z)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [_ds(spacing), _ds(spacing)]
    dataset.SliceThickness = _ds(thickness)
    dataset.SliceLocation = _ds(z)
    dataset.ConvolutionKernel = "B40"
    dataset.WindowCenter, dataset.WindowWidth = ["40", "-500"], ["400", "1500"]
    dataset.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
    return dataset


def _scout(study: Study, view: int, projection: NDArray[np.float32]) -> Dataset:
    """A localizer: the volume seen through, head up. ``view`` 0 is frontal, 1 lateral."""
    rows = study.size
    upright = projection[::-1]
    at = np.linspace(0, len(upright) - 1, rows)
    stretched = np.stack([np.interp(at, np.arange(len(upright)), column) for column in upright.T], axis=1)
    hu = 1500 * (1 - np.exp(-stretched / 420)) - 1000
    spacing, corner = (HEIGHT_MM / rows, FIELD_OF_VIEW_MM / rows), -(FIELD_OF_VIEW_MM / 2)
    dataset = _image(study, "scout", view, _stored(hu.astype(np.float32)))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "SCOUT"
    dataset.RescaleType = "US"
    dataset.AcquisitionNumber = 1
    position = (corner, 0, HEIGHT_MM) if view == 0 else (0, corner, HEIGHT_MM)
    dataset.ImagePositionPatient = [_ds(value) for value in position]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1] if view == 0 else [0, 1, 0, 0, 0, -1]
    dataset.PixelSpacing = [_ds(spacing[0]), _ds(spacing[1])]
    dataset.SliceThickness = _ds(FIELD_OF_VIEW_MM)
    dataset.ConvolutionKernel = "T20"
    dataset.WindowCenter, dataset.WindowWidth = "-150", "1100"
    return dataset


def _image(study: Study, series: str, number: int, pixels: NDArray[np.uint16]) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _patient_and_study(dataset, study)
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = study.uid(series)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = study.uid(series, number)
    dataset.FrameOfReferenceUID = study.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.InstanceNumber = number + 1
    _equipment(dataset)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(RESCALE_INTERCEPT), "1", "HU"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PixelData = pixels.tobytes()
    return dataset


def _patient_and_study(dataset: Dataset, study: Study) -> None:
    day, time = study.started.strftime("%Y%m%d"), study.started.strftime("%H%M%S")
    dataset.PatientName = study.name
    dataset.PatientID = study.patient_id
    dataset.IssuerOfPatientID = study.issuer
    dataset.PatientBirthDate = study.birth_date.strftime("%Y%m%d")
    dataset.PatientSex = study.sex
    dataset.StudyInstanceUID = study.study_uid
    dataset.StudyID = study.accession
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = day
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = time
    dataset.AccessionNumber = study.accession
    dataset.StudyDescription = "CT CHEST WITH CONTRAST"
    dataset.ReferringPhysicianName = "Rao^Anil"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"


def _equipment(dataset: Dataset) -> None:
    dataset.Manufacturer = "Konsil"
    dataset.ManufacturerModelName = "Phantom"
    dataset.InstitutionName = "Lakeside Hospital"
    dataset.StationName = "CT1"
    dataset.DeviceSerialNumber = "0001"
    dataset.SoftwareVersions = "1"
    dataset.KVP, dataset.XRayTubeCurrent, dataset.ExposureTime = "120", 210, 500
    dataset.ScanOptions = "HELICAL MODE"
    dataset.ContrastBolusAgent = "IOHEXOL 350"
    dataset.ContrastBolusRoute = "IV"
    dataset.DataCollectionDiameter = dataset.ReconstructionDiameter = _ds(FIELD_OF_VIEW_MM)
    dataset.GantryDetectorTilt = "0"
    dataset.ProcedureCodeSequence = Sequence([_code("24628-5", "LN", "CT Chest W contrast IV")])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _stored(hu: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.clip(np.rint(hu - RESCALE_INTERCEPT), *_stored_range).astype("<u2")


def _ds(value: float) -> str:
    return f"{value:.6g}"


def _file(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.298440203170243520912184376211917843210")
    meta.ImplementationVersionName = "KONSIL"
    target = io.BytesIO()
    FileDataset(target, dataset, file_meta=meta, preamble=b"\0" * 128).save_as(target, enforce_file_format=True)
    return target.getvalue()
