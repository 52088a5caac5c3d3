"""What tests share."""

import os

# Before NumPy is loaded, here and in the processes of tests: as many run at once as there are processors, and threads of
# matrix products that wait for each other beside them took four times the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
