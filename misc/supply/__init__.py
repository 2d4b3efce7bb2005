"""What this server itself is made of: `python -m misc.supply audit` looks for known vulnerabilities, `sbom` writes it down."""
