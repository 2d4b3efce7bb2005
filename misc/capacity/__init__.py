"""How long people wait on release day, and what to change: a simulation of this server's rules."""
