"""Values that do something when they reach a shell, make or a list of feeds; measured with the
genuine ImageBuilder.
"""

CANARY = "/builder/canary"
TOUCH = f"touch {CANARY}"
PAYLOADS = {
    "backticks": f"`{TOUCH}`",
    "make function": f"$(shell {TOUCH})",
    "escaped substitution": f"$$({TOUCH})",
    "double quote": f'x";{TOUCH};"',
    "single quote": f"x'; {TOUCH}; '",
    "semicolon": f"tmux;{TOUCH}",
    "pipe": f"tmux|{TOUCH}",
    "ampersand": f"tmux&{TOUCH}",
    "redirection": f"tmux>{CANARY}",
    "newline": f"tmux\n{TOUCH}",
    "pattern": "%",
    "pattern of removals": "-%",
    "path": "/builder/x.ipk",
    "way up": "../../etc/passwd",
    "argument of make": f"x SHELL=/bin/bash .SHELLFLAGS=-c\\ {TOUCH}",
}
