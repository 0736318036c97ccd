"""Every setting of Konsil, read here and nowhere else: ``KONSIL_…`` variables, overridden by command-line options.

https://docs.pydantic.dev/latest/concepts/pydantic_settings/
"""

import difflib
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "KONSIL_"
_for_tests = "KONSIL_TEST_"


class Settings(BaseSettings):
    """The configuration of one Konsil process; frozen, made once at the start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: Path = Field(
        default_factory=lambda: Path("/var/lib/konsil") if os.geteuid() == 0 else Path("var"),
        description="Where the embedded PostgreSQL and the blobs live. As root /var/lib/konsil, else ./var.",
    )
    database_url: SecretStr | None = Field(
        None, description="A PostgreSQL 15 or newer to use instead of the embedded one: postgresql://user@host/name."
    )
    database_connections: int = Field(10, ge=2, le=200, description="The most connections to PostgreSQL at one time.")
    host: str = Field("127.0.0.1", description="The address HTTP listens on.")
    port: int = Field(8000, ge=0, le=65535, description="The HTTP port; 0 takes any free one.")
    mllp_host: str = Field("127.0.0.1", description="The address MLLP listens on.")
    mllp_port: int = Field(2575, ge=0, le=65535, description="The MLLP port; 0 takes any free one.")
    mllp_tls_certificate: Path | None = Field(
        None, description="The certificate MLLP is served with, and its chain: a PEM file. Default: no TLS."
    )
    mllp_tls_key: Path | None = Field(None, description="The key of that certificate, a PEM file without passphrase.")
    mllp_tls_client_ca: Path | None = Field(
        None, description="The CA of the senders: then nobody is served without a certificate of it. A PEM file."
    )
    base_url: str | None = Field(
        None,
        description="What clients call this server, without /fhir: https://konsil.example. Default: host and port.",
    )
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host header values to answer to, besides loopback and base_url's: a JSON list, or a,b,c."
    )
    body_limit_mib: int = Field(64, ge=1, le=1024, description="The largest request body, in MiB.")
    sites_dir: Path = Field(Path("sites"), description="One folder for each hospital: <site>/site.yaml.")
    programmes: Annotated[tuple[str, ...], NoDecode] = Field(
        ("harbor",), description="Programmes to load at the start: a JSON list, or a,b,c."
    )
    blobs_url: str | None = Field(
        None,
        description="Where images are kept, such as s3://bucket/prefix. Default: blobs in the data directory.",
    )
    worker: bool = Field(default=True, description="Run jobs inside `konsil serve`; off when `konsil worker` does.")
    worker_concurrency: int = Field(4, ge=1, le=64, description="Jobs run at one time by one worker.")
    token_lifetime_days: int = Field(30, ge=1, le=3650, description="How long a bearer token lasts by default.")
    allow_plain_http: bool = Field(
        default=False, description="Serve HTTP without TLS beyond loopback; only for a network of its own."
    )
    allow_plain_mllp: bool = Field(
        default=False, description="Listen for MLLP without TLS beyond loopback; only for a network of its own."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What the log tells.")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people, or for a collector.")

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("trusted_hosts", "programmes", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip(" \"'") for part in value.strip().strip("[]").split(",") if part.strip(" \"'"))

    @field_validator("base_url")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http://)")
        return value.rstrip("/") if value is not None else None

    @property
    def root_url(self) -> str:
        """What clients call this server, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.base_url or f"http://{host}:{self.port}"

    @property
    def fhir_url(self) -> str:
        """The FHIR base."""
        return f"{self.root_url}/fhir"

    @property
    def dicomweb_url(self) -> str:
        """The DICOMweb base."""
        return f"{self.root_url}/dicomweb"


def problems(settings: Settings, environment: Mapping[str, str]) -> list[str]:
    """Return what is unsafe or unknown in the configuration, each as a sentence that says what to do."""
    return [*_unknown(environment), *_unsafe(settings)]


def _unknown(environment: Mapping[str, str]) -> list[str]:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and not name.startswith(_for_tests) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            found.append(f"{name} is not a setting.{f' Did you mean {near[0]}?' if near else ' Remove it.'}")
    return found


def _unsafe(settings: Settings) -> list[str]:
    found = []
    if "*" in settings.trusted_hosts:
        found.append("KONSIL_TRUSTED_HOSTS must name hosts: '*' lets any page in any browser reach the server.")
    plain = not is_loopback(settings.host) and not settings.root_url.startswith("https://")
    if plain and not settings.allow_plain_http:
        found.append(
            f"HTTP on {settings.host} without TLS would send patient data in the clear: put a TLS proxy in front and "
            "set KONSIL_BASE_URL to its https:// address, or listen on 127.0.0.1."
        )
    found += _unsafe_mllp(settings)
    if settings.port == settings.mllp_port != 0 and settings.host == settings.mllp_host:
        found.append(f"HTTP and MLLP cannot both have port {settings.port}.")
    return found


def _unsafe_mllp(settings: Settings) -> list[str]:
    found = []
    certificate, key = settings.mllp_tls_certificate, settings.mllp_tls_key
    if (certificate is None) != (key is None):
        found.append("KONSIL_MLLP_TLS_CERTIFICATE and KONSIL_MLLP_TLS_KEY go together: set both, or neither.")
    if settings.mllp_tls_client_ca and certificate is None:
        found.append("KONSIL_MLLP_TLS_CLIENT_CA means nothing without KONSIL_MLLP_TLS_CERTIFICATE: set that too.")
    if certificate is None and not is_loopback(settings.mllp_host) and not settings.allow_plain_mllp:
        found.append(
            f"MLLP on {settings.mllp_host} without TLS would send patient data in the clear: set "
            "KONSIL_MLLP_TLS_CERTIFICATE and KONSIL_MLLP_TLS_KEY, or listen on 127.0.0.1."
        )
    return found


def is_loopback(host: str) -> bool:
    """Tell whether the address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
