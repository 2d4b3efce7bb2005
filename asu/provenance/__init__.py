"""Provenance: what an image was made of, written down beside it, and how that is checked."""
