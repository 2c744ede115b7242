"""Promises held for long: `python -m tests.soak`, or `make soak`. Short forms are in the suite.

Belongs here: what takes minutes or hours and a machine to itself, a module a promise. Does not
belong here: what every change has to pass (tests/test_*.py).
"""
