"""The HL7 v2 inbox and outbox: every message that came, every message that must go, with its bytes and its fate.

Store-and-forward with a durable acknowledgement: HL7 v2.9 §2.9.2 (enhanced mode, "commit accept").
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)

from fhir_server.store.tables import metadata

inbound_message = Table(
    "inbound_message",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("site", Text, nullable=False, comment="name of the site, empty when no site was found"),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("peer", Text, nullable=False, comment="address of the sender"),
    Column("control_id", Text, nullable=False, comment="MSH-10"),
    Column("message_type", Text, nullable=False, comment="MSH-9 as in ADT^A01"),
    Column("sender", Text, nullable=False, comment="MSH-3 and MSH-4 as in EHR|LAKESIDE"),
    Column("occurred_at", DateTime(timezone=True), nullable=True, comment="MSH-7"),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the bytes without MSH-7"),
    Column("raw", LargeBinary, nullable=False, comment="the message as received"),
    Column("status", Text, nullable=False, comment="accepted, processed, failed, held, passed, refused or partial"),
    Column("lane", Text, nullable=False, server_default="", comment="messages of one lane are processed in order"),
    Column("patient", Text, nullable=False, server_default="", comment="system|value of the patient it is about"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("resends", Integer, nullable=False, server_default="0", comment="how often the same message came again"),
    Column("acknowledgement", LargeBinary, nullable=True, comment="the answer, given again to a resend"),
    Column("acknowledgement_code", Text, nullable=False, server_default=""),
    Column("error_code", Text, nullable=False, server_default="", comment="ERR-3, HL7 table 0357"),
    Column("error_location", Text, nullable=False, server_default="", comment="ERR-2 such as PID^1^3"),
    Column("error_text", Text, nullable=False, server_default="", comment="no patient data"),
    Column("warnings", ARRAY(Text), nullable=False, server_default="{}"),
    Column("resources", ARRAY(Text), nullable=False, server_default="{}", comment="Type/id/_history/version written"),
    Column("processed_at", DateTime(timezone=True), nullable=True),
    Index(
        "inbound_message_once_idx",
        "site",
        "control_id",
        "digest",
        unique=True,
        postgresql_where=text("status NOT IN ('refused', 'partial')"),
    ),
    Index("inbound_message_status_idx", "status", "site", "id"),
    Index(
        "inbound_message_waiting_idx", "lane", "id", postgresql_where=text("status IN ('accepted', 'failed', 'held')")
    ),
    schema="fhir",
)

message_watermark = Table(
    "message_watermark",
    metadata,
    Column("resource_type", Text, primary_key=True),
    Column("resource_id", Text, primary_key=True),
    Column("occurred_at", DateTime(timezone=True), nullable=False, comment="MSH-7 of the newest message applied to it"),
    Column("message_id", BigInteger, nullable=False),
    schema="fhir",
)

outbound_message = Table(
    "outbound_message",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("destination", Text, nullable=False, comment="site/name of the destination; one queue each, in order of id"),
    Column("control_id", Text, nullable=False, comment="MSH-10, the same at every attempt"),
    Column("reference", Text, nullable=False, comment="what is being delivered, e.g. Task/1"),
    Column("raw", LargeBinary, nullable=False),
    Column("status", Text, nullable=False, server_default="waiting", comment="waiting, held, delivered or failed"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("errors", Integer, nullable=False, server_default="0", comment="how often it was answered AE or CE"),
    Column("leased_until", DateTime(timezone=True), nullable=True, comment="a sender is at work until then"),
    Column("leased_by", Text, nullable=False, server_default="", comment="application_name of that sender's session"),
    Column("acknowledgement", LargeBinary, nullable=True, comment="the receiver's last answer"),
    Column("acknowledgement_code", Text, nullable=False, server_default="", comment="MSA-1"),
    Column("last_error", Text, nullable=False, server_default=""),
    Column("delivered_at", DateTime(timezone=True), nullable=True),
    Index("outbound_message_control_id_key", "destination", "control_id", unique=True),
    Index("outbound_message_reference_idx", "reference"),
    Index("outbound_message_waiting_idx", "destination", "id", postgresql_where=text("status IN ('waiting', 'held')")),
    schema="fhir",
)
