"""The routes, a module per noun; each says in its decorator which scope it asks for and what it takes."""
