"""`make fuzz`: requests made from the OpenAPI files, valid and not, against the whole system through its gateway."""
