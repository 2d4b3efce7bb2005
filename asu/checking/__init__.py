"""`asu check`: looks at all that a server needs, and says what is wrong and what to do."""
