"""Where an image comes from: how that is written down beside it, and how it is checked."""
