"""Subscription topics, matching and delivery."""
