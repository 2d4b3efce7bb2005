"""The bars that the design sets, measured on this machine: `make bench`.

It reports and never judges: a bar that is missed is shown, and only what could not be measured
makes the command fail. Speed is always compared with a bare FastAPI echo measured in the same
minutes, since requests per second alone say more about the machine than about us.
"""
