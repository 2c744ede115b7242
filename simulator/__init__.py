"""A deterministic generator of demo extracts, with the answers a correct warehouse must give.

Here: a made-up company's events as landing would receive them, and the figures they amount to.
Not here: anything that reads extracts or computes marts; the simulator knows the landing contract
and the definitions, never their implementation.
"""

from simulator.generation import GenerationReport, UsageError, generate

__all__ = ["GenerationReport", "UsageError", "generate"]
