"""How long release day makes people wait, and what to turn: a simulation with this server's rules."""
