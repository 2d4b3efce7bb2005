"""Preview of a firmware request: which packages it leads to, what changes and why. Stateless."""

__version__ = "0.1.0"
