"""The tests of the build service, and the stand-ins they run against."""
