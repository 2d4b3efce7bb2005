"""Where finished images live: one protocol, one module per place."""
