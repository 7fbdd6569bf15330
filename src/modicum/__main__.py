"""`python -m modicum` is the command `modicum`; torchrun starts it as `torchrun --nproc-per-node 2 -m modicum ...`."""

import sys

from modicum.cli import main

if __name__ == "__main__":
    sys.exit(main())
