"""What tests share."""

import os

# Before NumPy is loaded, here and in the processes of tests: several run at once, and beside each other the threads of
# their matrix products, which look while they wait, took four times the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
