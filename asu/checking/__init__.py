"""`asu check`: looks at everything that a server needs, and says what to do about what is wrong."""
