"""`make fuzz`: requests from the OpenAPI files, valid and not, to the whole system's gateway."""
