"""`python -m misc.supply`: `audit` the locks for known vulnerabilities, write down an `sbom`."""
