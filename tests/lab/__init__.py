"""Tests that need hosts, and the lab that makes them (tests/lab/kit; `python -m tests.lab` by hand)."""
