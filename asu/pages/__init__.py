"""HTML pages: views of the templates, charts, markup."""
