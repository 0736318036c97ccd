"""Server-side sessions of the web app: the browser holds a random name, never a token.

OAuth 2.0 for Browser-Based Applications, "Backend For Frontend":
https://datatracker.ietf.org/doc/html/draft-ietf-oauth-browser-based-apps#name-backend-for-frontend-bff
"""

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

_BYTES = 32
_MOST = 10_000


@dataclass(slots=True)
class _Session:
    token: str
    opened: float
    used: float


class Sessions:
    """Open sessions and one-time login links of this process.

    A session ends ``idle_s`` after its last request and ``lifetime_s`` after login at the latest; a link works once,
    within ``link_s``. Names are kept only as SHA-256, so reading memory or a core dump gives no cookie back.
    """

    def __init__(
        self,
        *,
        idle_s: float = 30 * 60,
        lifetime_s: float = 8 * 3600,
        link_s: float = 15 * 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._idle_s = idle_s
        self._lifetime_s = lifetime_s
        self._link_s = link_s
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._links: dict[str, tuple[str, float]] = {}

    def open(self, token: str) -> str:
        """Return the name of a new session that acts with ``token``."""
        self._sweep()
        name, now = secrets.token_urlsafe(_BYTES), self._clock()
        self._sessions[_digest(name)] = _Session(token, now, now)
        return name

    def token(self, name: str) -> str | None:
        """Return the token of the session, None when it ended or never was; counts as use."""
        session = self._sessions.get(_digest(name))
        if session is None or self._ended(session):
            return None
        session.used = self._clock()
        return session.token

    def close(self, name: str) -> None:
        """End the session."""
        self._sessions.pop(_digest(name), None)

    def link(self, token: str) -> str:
        """Return a one-time code that opens a session with ``token``."""
        self._sweep()
        code = secrets.token_urlsafe(_BYTES)
        self._links[_digest(code)] = (token, self._clock() + self._link_s)
        return code

    def redeem(self, code: str) -> str | None:
        """Return the token behind a one-time code; the code is spent."""
        token, until = self._links.pop(_digest(code), ("", 0.0))
        return token if token and self._clock() < until else None

    def _ended(self, session: _Session) -> bool:
        now = self._clock()
        return now - session.used >= self._idle_s or now - session.opened >= self._lifetime_s

    def _sweep(self) -> None:
        """Forget what ended, and the oldest when there are too many, so that logins cannot fill the memory."""
        now = self._clock()
        self._sessions = {name: held for name, held in self._sessions.items() if not self._ended(held)}
        self._links = {code: held for code, held in self._links.items() if now < held[1]}
        for kept in (self._sessions, self._links):
            while len(kept) >= _MOST:
                kept.pop(next(iter(kept)))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
