"""Benchmarks: the project beside its floors and rivals, as ratios that one run measured.

Belongs here: what is measured, against what, and with which target. Does not belong here: tests
(nothing here asserts a time, see tests/), or anything the product needs: polars and chdb are
installed by `make bench` alone, from benchmarks/requirements.lock.
"""
