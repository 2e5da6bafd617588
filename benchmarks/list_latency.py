"""How long `tunings.list` takes, by the number of jobs that the account has.

    python -m benchmarks.list_latency [--jobs 1000,1000000] [--requests 2000] [--rounds 5]

The service runs twice, each on a database of its own, whose read model is filled past the log, with few jobs
and with many. One client asks for pages in turns: the newest, one of a status, one in the middle.
"""
