"""HTML pages: Jinja2 templates, and what they show."""
