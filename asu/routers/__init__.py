"""HTTP in, HTTP out; one module per part of the API. Routers import inward, nothing imports routers but the application.

HEAD is a route of its own beside GET and not in the reference: as two methods of one route they
would share an operation id, which a valid OpenAPI document must not have.
"""
