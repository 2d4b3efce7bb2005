"""HTTP in, HTTP out; one module per part of the API. Only the application imports routers."""
