"""The command handler and the projector on a log in memory, under faults that a seed decides.

python -m tests.simulation SEED [--trace]
"""
