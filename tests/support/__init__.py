"""What tests share."""

import os

# Before NumPy is loaded, here and in the processes of tests: several run at once, and beside each other the threads of
# their matrix products, which look while they wait, took four times the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Tests that show what threads may not change name them. All others run on one: each worker of pytest has a processor
# at most, and threads that wait for each other there take up to ten times its time.
os.environ.setdefault("INTACT_THREADS", "1")
