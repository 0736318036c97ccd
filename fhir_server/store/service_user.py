"""Which user PostgreSQL runs as: ours, or an unprivileged one when we are root, which PostgreSQL refuses to be.

https://www.postgresql.org/docs/current/postgres-user.html
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_own_name = "konsil"
_existing = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """The user to drop to; None in ``uid`` means we stay who we are."""

    uid: int | None = None
    gid: int | None = None
    name: str = ""

    @property
    def process_options(self) -> dict[str, Any]:
        """The arguments for ``subprocess.Popen`` that make the child run as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, folder: Path) -> None:
        """Make the folder, private to this user."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.uid is not None and folder.stat().st_uid != self.uid:
            os.chown(folder, self.uid, self.gid or -1)

    def let_through(self, folder: Path) -> None:
        """Let this user pass through a folder of ours, without showing what is in it."""
        if self.uid is None or self.can_reach(folder):
            return
        os.chown(folder, -1, self.gid or -1)
        folder.chmod(folder.stat().st_mode | 0o010)

    def can_reach(self, folder: Path) -> bool:
        """Tell whether the folder's own permissions let this user pass through."""
        if self.uid is None:
            return True
        facts = folder.stat()
        if facts.st_uid == self.uid:
            return bool(facts.st_mode & 0o100)
        return bool(facts.st_mode & (0o010 if facts.st_gid == self.gid else 0o001))

    def barrier(self, folder: Path) -> Path | None:
        """Return the first parent folder that this user cannot pass through."""
        return next((parent for parent in reversed(folder.parents) if not self.can_reach(parent)), None)


def service_user() -> ServiceUser:
    """Return the user PostgreSQL is to run as, made with useradd when we are root and it does not exist yet."""
    if os.geteuid() != 0:
        return ServiceUser()
    if not _known(_own_name):
        _add_user()
    for name in (_own_name, *_existing):
        if _known(name):
            entry = pwd.getpwnam(name)
            return ServiceUser(entry.pw_uid, entry.pw_gid, name)
    raise RuntimeError("PostgreSQL refuses to run as root. Create a system user named 'konsil', then start again.")


def _known(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _add_user() -> None:
    tool = shutil.which("useradd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if tool is None:
        return
    command = [tool, "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", _own_name]
    # A read-only /etc/passwd makes this fail; an existing user is tried next.
    subprocess.run(command, check=False, capture_output=True)  # noqa: S603 (fixed arguments)
