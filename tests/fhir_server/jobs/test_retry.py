import pytest

from fhir_server.jobs.retry import Backoff


@pytest.mark.parametrize(("attempts", "full"), [(0, 1), (1, 2), (5, 32), (9, 512), (10, 900), (500, 900)])
def test_the_wait_doubles_up_to_its_limit_and_is_never_the_same_for_all(attempts, full):
    delays = [Backoff(first_s=1, longest_s=900).delay_s(attempts) for _ in range(200)]
    assert full / 2 <= min(delays) < max(delays) <= full
    assert len(set(delays)) > 100
