"""The handlers, one file for each noun; `app.ROUTES` says which path and method leads where."""
