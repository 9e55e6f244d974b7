"""The HTTP doors, a module each; `app.make_app` puts them together. starlette is imported in this package only."""
