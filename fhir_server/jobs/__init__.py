"""The job engine: enqueued in the write's own transaction, retried, visible when failed, replayable."""
