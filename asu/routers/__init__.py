"""HTTP in, HTTP out; one module per part of the API. Routers import inward, nothing imports routers but the application."""
