"""Faults planted in the incremental models; table.py has them, run.py plants and hunts them."""
