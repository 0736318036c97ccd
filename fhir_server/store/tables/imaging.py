"""Studies being pulled, their instances (expected and stored), and what was put aside: state, never pixels.

UIDs are DICOM's (PS3.5 §9): https://dicom.nema.org/medical/dicom/current/output/chtml/part05/chapter_9.html
"""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Integer, Table, Text, func, text

from fhir_server.store.tables import metadata

imaging_pull = Table(
    "imaging_pull",
    metadata,
    Column("site", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Column("patient", Text, nullable=False, comment="Patient/id the study was asked for"),
    Column(
        "state", Text, nullable=False, server_default="waiting", comment="waiting, fetching, partial, done, quarantined"
    ),
    Column("reason", Text, nullable=False, server_default="", comment="why it is partial or quarantined: a code"),
    Column("imaging_study", Text, nullable=False, server_default="", comment="id of the ImagingStudy made of it"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text, nullable=False, server_default="", comment="no patient data"),
    Column("released_by", Text, nullable=False, server_default="", comment="who accepted a mismatch of identity"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("imaging_pull_study_idx", "study_uid"),
    Index("imaging_pull_imaging_study_idx", "imaging_study", postgresql_where=text("imaging_study <> ''")),
    Index("imaging_pull_state_idx", "state", "updated_at"),
    schema="fhir",
)

imaging_instance = Table(
    "imaging_instance",
    metadata,
    Column("site", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Column("series_uid", Text, primary_key=True),
    Column("sop_uid", Text, primary_key=True),
    Column("sha256", Text, nullable=True, comment="key of the blob; null while the instance is only expected"),
    Column("size", BigInteger, nullable=False, server_default="0", comment="bytes of the blob"),
    Column("sop_class", Text, nullable=False, server_default=""),
    Column("transfer_syntax", Text, nullable=False, server_default=""),
    Column("number", Integer, nullable=False, server_default="0", comment="InstanceNumber"),
    Column("pixel_offset", BigInteger, nullable=True, comment="where the value of PixelData begins in the blob"),
    Column(
        "frames", Text, nullable=False, server_default="", comment="JSON: [[offset, length], …] of each encoded frame"
    ),
    Column("header", Text, nullable=False, server_default="", comment="DICOM JSON without bulk data"),
    Column("stored_at", DateTime(timezone=True), nullable=True),
    Index("imaging_instance_study_idx", "study_uid", "series_uid"),
    schema="fhir",
)

imaging_quarantine = Table(
    "imaging_quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("site", Text, nullable=False),
    Column("study_uid", Text, nullable=False),
    Column("series_uid", Text, nullable=False, server_default="", comment="empty: the whole study"),
    Column("sop_uid", Text, nullable=False, server_default="", comment="empty: the whole study"),
    Column("reason", Text, nullable=False, comment="a code such as birth-date-mismatch or content-conflict"),
    Column("detail", Text, nullable=False, server_default="", comment="no patient data"),
    Column("sha256", Text, nullable=False, server_default="", comment="key of the blob kept for review, if any"),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("resolved_at", DateTime(timezone=True), nullable=True),
    Column("resolved_by", Text, nullable=False, server_default=""),
    Index("imaging_quarantine_once_idx", "site", "study_uid", "series_uid", "sop_uid", "reason", "sha256", unique=True),
    schema="fhir",
)
