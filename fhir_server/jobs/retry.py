"""When a failed job is tried again: later and later, never all at the same moment, and not for ever.

https://procrastinate.readthedocs.io/en/stable/howto/advanced/retry.html
"""

import random

from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job


class JobFailed(Exception):
    """What a job's error was, as kind and place; ``final`` when trying again would bring the same answer."""

    def __init__(self, described: str, *, final: bool) -> None:
        self.final = final
        super().__init__(described)


class Backoff(BaseRetryStrategy):
    """Waits ``first_s``, then twice as long each time up to ``longest_s``, of which a random half is left out.

    A job refused by a rule (403, 422) is not tried again: the answer would be the same.
    """

    def __init__(self, *, attempts: int = 12, first_s: float = 1, longest_s: float = 900) -> None:
        self.attempts = attempts
        self.first_s = first_s
        self.longest_s = longest_s

    def delay_s(self, attempts: int) -> float:
        """Return the seconds to wait after so many attempts, at random from half of the full time to all of it."""
        full = min(self.longest_s, self.first_s * 2.0**attempts)
        return full * random.uniform(0.5, 1)  # noqa: S311 - spreads retries, no secret

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to try again; None gives up."""
        if (isinstance(exception, JobFailed) and exception.final) or job.attempts + 1 >= self.attempts:
            return None
        milliseconds = int(1000 * self.delay_s(job.attempts))
        return RetryDecision(retry_in={"milliseconds": milliseconds})
