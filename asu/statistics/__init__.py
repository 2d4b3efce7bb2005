"""What is counted of builds, and the figures made of it."""
